package detection

import (
	"container/heap"
	"fmt"
	"slices"
	"strings"
)

// order puts the rules into the released order: by name, but each after the rules
// that its condition uses, because YARA knows only what stands above. The order
// depends on nothing else, so that moving a rule changes no byte.
func (r *reader) order(b *Base) {
	slices.SortStableFunc(b.Rules, func(x, y *Rule) int { return strings.Compare(x.Name, y.Name) })
	for i := 1; i < len(b.Rules); i++ {
		if one, two := b.Rules[i-1], b.Rules[i]; one.Name == two.Name {
			r.say(place{two.File, two.Line, two.Column}, fmt.Sprintf("the rule %s stands twice, first at %s:%d", two.Name, one.File, one.Line), "rename one")
		}
	}
	if len(r.problems) > 0 {
		return // names are not names yet
	}
	waits := make([]int, len(b.Rules))   // for how many rules each one waits
	frees := make([][]int, len(b.Rules)) // which rules wait for it
	for i, rule := range b.Rules {
		for _, j := range b.needed(rule) {
			if i != j {
				waits[i]++
				frees[j] = append(frees[j], i)
			}
		}
	}
	ready := &numbers{}
	for i := range b.Rules {
		if waits[i] == 0 {
			*ready = append(*ready, i)
		}
	}
	sorted := make([]*Rule, 0, len(b.Rules))
	for ready.Len() > 0 {
		i := heap.Pop(ready).(int)
		sorted = append(sorted, b.Rules[i])
		for _, j := range frees[i] {
			if waits[j]--; waits[j] == 0 {
				heap.Push(ready, j)
			}
		}
	}
	if len(sorted) < len(b.Rules) {
		i := slices.IndexFunc(waits, func(n int) bool { return n > 0 })
		rule := b.Rules[i]
		r.say(place{rule.File, rule.Line, rule.Column}, fmt.Sprintf("the rule %s uses a rule that uses it again", rule.Name), "a rule can only use rules that do not use it")
		return
	}
	b.Rules = sorted
}

// needed finds the rules that a rule's condition uses; b.Rules are sorted by name.
func (b *Base) needed(rule *Rule) []int {
	var found []int
	for _, name := range rule.needs {
		prefix, set := strings.CutSuffix(name, "*")
		i, exact := slices.BinarySearchFunc(b.Rules, prefix, func(r *Rule, name string) int { return strings.Compare(r.Name, name) })
		if exact && !set {
			found = append(found, i)
		}
		for ; set && i < len(b.Rules) && strings.HasPrefix(b.Rules[i].Name, prefix); i++ {
			found = append(found, i)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// numbers is a heap: the smallest comes first.
type numbers []int

func (h numbers) Len() int           { return len(h) }
func (h numbers) Less(i, j int) bool { return h[i] < h[j] }
func (h numbers) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *numbers) Push(x any) { *h = append(*h, x.(int)) }

// Pop implements heap.Interface.
func (h *numbers) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// Text is the rule in its released form.
func (r *Rule) Text() string {
	var b strings.Builder
	r.write(&b)
	return b.String()
}

func (r *Rule) write(b *strings.Builder) {
	if r.Modifiers != "" {
		b.WriteString(r.Modifiers + " ")
	}
	b.WriteString("rule " + r.Name)
	if len(r.Tags) > 0 {
		b.WriteString(" : " + strings.Join(r.Tags, " "))
	}
	b.WriteString("\n{\n")
	for _, part := range []struct {
		name  string
		lines []string
	}{{"meta", r.Meta}, {"strings", r.Strings}, {"condition", []string{r.Condition}}} {
		if len(part.lines) == 0 {
			continue
		}
		b.WriteString("  " + part.name + ":\n")
		for _, line := range part.lines {
			b.WriteString("    " + line + "\n")
		}
	}
	b.WriteString("}\n")
}
