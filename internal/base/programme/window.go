package programme

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // a machine without zone files must not answer differently from the reviewers'
)

// weekdays as the programme writes them, in the order of time.Weekday.
var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

const day = "2006-01-02"

// Open tells whether a release may go out at a time. When not, why says so for
// people, and next is when it may; next is zero when that is years ahead.
func (w Windows) Open(at time.Time) (open bool, why string, next time.Time) {
	zone, err := time.LoadLocation(w.Zone)
	if err != nil {
		return false, fmt.Sprintf("the time zone %q is not known", w.Zone), time.Time{}
	}
	t := at.In(zone)
	why, until := w.shut(t)
	if why == "" {
		return true, "", at
	}
	for range 800 { // each step gets past a freeze, a night or a day: more than two years
		t = until
		var still string
		if still, until = w.shut(t); still == "" {
			return false, why, t
		}
	}
	return false, why, time.Time{}
}

// shut tells why nothing may go out at t, and until when at least; "" is open.
func (w Windows) shut(t time.Time) (why string, until time.Time) {
	midnight := func(days int) time.Time {
		return time.Date(t.Year(), t.Month(), t.Day()+days, 0, 0, 0, 0, t.Location())
	}
	today := t.Format(day)
	for _, f := range w.Freezes {
		if f.From <= today && today <= f.Until {
			last, err := time.ParseInLocation(day, f.Until, t.Location())
			if err != nil {
				return "a freeze has no proper end", midnight(1)
			}
			return fmt.Sprintf("nothing goes out from %s until %s: %s", f.From, f.Until, f.Why), last.AddDate(0, 0, 1)
		}
	}
	if len(w.Days) > 0 && !slices.Contains(w.Days, weekdays[t.Weekday()]) {
		return "releases go out on " + strings.Join(w.Days, ", ") + " only", midnight(1)
	}
	if w.Hours == "" {
		return "", time.Time{}
	}
	from, to, ok := parseHours(w.Hours)
	minute := t.Hour()*60 + t.Minute()
	why = fmt.Sprintf("releases go out from %s (%s) only", w.Hours, cmp.Or(w.Zone, "UTC"))
	switch {
	case !ok:
		return "the hours can not be read", midnight(1)
	case minute < from:
		return why, time.Date(t.Year(), t.Month(), t.Day(), from/60, from%60, 0, 0, t.Location())
	case minute >= to:
		return why, midnight(1)
	}
	return "", time.Time{}
}

// parseHours reads 08:00-16:00 as minutes of the day; 24:00 is a good end.
func parseHours(s string) (from, to int, ok bool) {
	a, b, ok := strings.Cut(s, "-")
	if !ok {
		return 0, 0, false
	}
	from, okA := parseClock(a)
	to, okB := parseClock(b)
	return from, to, okA && okB && from < to
}

func parseClock(s string) (minute int, ok bool) {
	if s == "24:00" {
		return 24 * 60, true
	}
	t, err := time.Parse("15:04", s)
	return t.Hour()*60 + t.Minute(), err == nil && t.Format("15:04") == s
}
