package detection

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"clerestory.dev/clerestory/internal/window/portal/frame"
)

// Calendar is the bases, and the updates of a month.
type Calendar struct {
	Bases   []Base `json:"bases"`
	Month   string `json:"month"` // 2026-11
	Updates []Day  `json:"updates"`
	Before  string `json:"before,omitempty"` // the month before that has updates, as far as was looked
	After   string `json:"after,omitempty"`
}

// Base is a base with its newest update.
type Base struct {
	Product     string    `json:"product"`
	Name        string    `json:"name"`
	Description string    `json:"description"`
	Version     string    `json:"version"`
	Channel     string    `json:"channel"`
	Entry       int64     `json:"entry"`
	At          time.Time `json:"at"`
	State       string    `json:"state"`
	Updates     int       `json:"updates"` // as far back as was looked
	Due         int       `json:"reviewsDue"`
}

// Day is an update in the calendar.
type Day struct {
	Product string    `json:"product"`
	Version string    `json:"version"`
	Channel string    `json:"channel"`
	Entry   int64     `json:"entry"`
	At      time.Time `json:"at"`
	State   string    `json:"state"`
	Reason  string    `json:"reason,omitempty"` // why it was taken back
	Review  string    `json:"review,omitempty"` // of an emergency: due, overdue, upheld or objected
}

const monthForm = "2006-01"

func (m *Room) calendar(r *frame.Request) (*frame.Answer, error) {
	month := &frame.Field{Name: "month", Label: "Month", Hint: "such as 2026-11"}
	asked, err := time.Parse(monthForm, cmp.Or(month.Read(r.URL.Query().Get), r.Now.Format(monthForm)))
	if err != nil || asked.Year() < 1970 || asked.Year() > 9999 {
		month.Problem = "Write a month like 2026-11."
		bad := []*frame.Field{month}
		return &frame.Answer{Title: "Detection bases", Section: "/bases", Status: 400, Fields: bad, Body: wrongMonth(month, bad)}, nil
	}
	data := Calendar{Bases: []Base{}, Updates: []Day{}}
	var days []Day
	err = m.each(r.Ctx(), "", nil, func(s said) bool {
		d := Day{s.release.Product, s.release.Version, s.release.Channel, s.N, moment(s.release.At), "published", "", ""}
		if s.Revoked != nil {
			d.State, d.Reason = "revoked", s.Revoked.Reason
		}
		e, failed := m.emergency(r.Ctx(), s)
		if failed != nil {
			err = failed
			return false
		}
		d.Review = e.word(r.Now)
		days = append(days, d)
		data.count(s, d)
		return true
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(data.Bases, func(a, b Base) int { return cmp.Compare(a.Product, b.Product) })
	if month.Value == "" && len(days) > 0 {
		asked = days[0].At
	}
	data.choose(days, asked)
	table := [][]string{{"at", "product", "version", "channel", "entry", "state", "reason", "review"}}
	for _, d := range data.Updates {
		table = append(table, []string{d.At.Format(time.RFC3339), d.Product, d.Version, d.Channel, strconv.FormatInt(d.Entry, 10), d.State, d.Reason, d.Review})
	}
	return &frame.Answer{Title: "Detection bases", Section: "/bases", Data: data, Table: table, Body: calendarPage(data)}, nil
}

// count takes an update into the list of bases; the newest comes first.
func (c *Calendar) count(s said, d Day) {
	i := slices.IndexFunc(c.Bases, func(b Base) bool { return b.Product == d.Product })
	if i < 0 {
		about := s.manifest.About
		i = len(c.Bases)
		c.Bases = append(c.Bases, Base{Product: d.Product, Name: cmp.Or(about.Name, d.Product), Description: about.Description,
			Version: d.Version, Channel: d.Channel, Entry: d.Entry, At: d.At, State: d.State})
	}
	c.Bases[i].Updates++
	if d.Review == reviewDue || d.Review == reviewOverdue {
		c.Bases[i].Due++
	}
}

// choose keeps the days of a month, oldest first, and its neighbours.
func (c *Calendar) choose(days []Day, asked time.Time) {
	c.Month = asked.Format(monthForm)
	for _, d := range slices.Backward(days) {
		switch at := d.At.Format(monthForm); {
		case at == c.Month:
			c.Updates = append(c.Updates, d)
		case at < c.Month:
			c.Before = max(c.Before, at)
		case c.After == "" || at < c.After:
			c.After = at
		}
	}
}

// cell is a day of the grid; day 0 is outside of the month.
type cell struct {
	day     int
	at      string // as time says it
	updates []Day
}

// weeks are the rows of the month's grid, from Monday.
func (c Calendar) weeks() [][]cell {
	first, err := time.Parse(monthForm, c.Month)
	if err != nil {
		return nil
	}
	var rows [][]cell
	row := make([]cell, (int(first.Weekday())+6)%7)
	for at := first; at.Month() == first.Month(); at = at.AddDate(0, 0, 1) {
		x := cell{day: at.Day(), at: at.Format(time.DateOnly)}
		for _, d := range c.Updates {
			if d.At.Format(time.DateOnly) == x.at {
				x.updates = append(x.updates, d)
			}
		}
		if row = append(row, x); len(row) == 7 {
			rows, row = append(rows, row), nil
		}
	}
	if len(row) > 0 {
		rows = append(rows, append(row, make([]cell, 7-len(row))...))
	}
	return rows
}

func monthWords(s string) string {
	t, err := time.Parse(monthForm, s)
	if err != nil {
		return s
	}
	return t.Format("January 2006")
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
