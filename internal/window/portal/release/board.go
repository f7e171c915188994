package release

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/ledger/keyring"
	"clerestory.dev/clerestory/internal/ledger/repository"
	office "clerestory.dev/clerestory/internal/office/release"
	"clerestory.dev/clerestory/internal/window/portal/frame"
)

// Repository is what update clients get; *repository.Service is one.
type Repository interface {
	Status(context.Context) (*repository.Status, error)
}

// Work is what waits: for the visitor, and for others.
type Work struct {
	Mine   []Item `json:"mine"`
	Others []Item `json:"others"`
	// Signatures are documents of the update repository that lack some.
	Signatures []Signatures `json:"signatures"`
	// Expiring is what update clients will soon refuse.
	Expiring []Expiring `json:"expiring"`
}

// Item is a release with one thing that it waits for.
type Item struct {
	Product string `json:"product"`
	Version string `json:"version"`
	Channel string `json:"channel"`
	State   string `json:"state"`
	Need
	Emergency bool `json:"emergency"`
}

// Signatures is a document of the update repository, and who could sign it.
type Signatures struct {
	Role string   `json:"role"`
	Have int      `json:"have"`
	Need int      `json:"need"`
	Who  []string `json:"who"`
}

// Expiring is metadata that update clients refuse from a time on.
type Expiring struct {
	Role    string    `json:"role"`
	Version int64     `json:"version"`
	At      time.Time `json:"at"`
	Online  bool      `json:"online"` // renewed by itself where the online key is
	Over    bool      `json:"over"`
}

const (
	draftAction = "release:read-draft"
	boardObject = "release:board" // all drafts at once
)

// board is a person's first screen: what waits for him, oldest deadline first.
func (m *Room) board(r *frame.Request) (*frame.Answer, error) {
	data := Work{Mine: []Item{}, Others: []Item{}, Signatures: []Signatures{}, Expiring: []Expiring{}}
	if err := m.waiting(r, &data); err != nil {
		return nil, err
	}
	if err := m.repository(r, &data); err != nil {
		return nil, err
	}
	table := [][]string{{"for", "product", "version", "channel", "state", "needs", "who", "after", "until", "overdue"}}
	for _, list := range [][]Item{data.Mine, data.Others} {
		for _, x := range list {
			who := "others"
			if slices.Contains(x.Who, r.Visitor.ID) {
				who = "me"
			}
			table = append(table, []string{who, x.Product, x.Version, x.Channel, x.State, x.What, strings.Join(x.Who, ", "), stamp(x.After), stamp(x.Until), strconv.FormatBool(x.Overdue)})
		}
	}
	return &frame.Answer{Title: "Work", Section: "/work", Data: data, Table: table, Body: boardPage(data, r.Visitor.ID, r.Now)}, nil
}

// waiting lists what the process waits for. One record says that the drafts were
// read, not one for each; those that a policy keeps from the visitor are left out.
func (m *Room) waiting(r *frame.Request, data *Work) error {
	drafts := m.Guard.Decide(r.Visitor.Person, draftAction, boardObject, nil).Allowed
	if drafts {
		if err := m.Guard.Allow(r.Ctx(), r.Visitor.Person, draftAction, boardObject, nil); err != nil {
			return err
		}
	}
	all, err := m.Office.Board(r.Ctx(), "")
	if err != nil {
		return err
	}
	for _, w := range all {
		rel := w.Release
		if !rel.State.Said() && !(drafts && m.Guard.Decide(r.Visitor.Person, draftAction, approveObject(rel), nil).Allowed) {
			continue
		}
		x := Item{rel.Statement.Product, rel.Statement.Version, rel.Statement.Channel, string(rel.State), needOf(w.Need), rel.Emergency()}
		if slices.Contains(x.Who, r.Visitor.ID) {
			data.Mine = append(data.Mine, x)
		} else {
			data.Others = append(data.Others, x)
		}
	}
	return nil
}

// repository lists what the update repository waits for and what expires there.
func (m *Room) repository(r *frame.Request, data *Work) error {
	if m.Repository == nil {
		return nil
	}
	st, err := m.Repository.Status(r.Ctx())
	if err != nil {
		return err
	}
	for _, e := range st.Expiries {
		if e.Soon {
			data.Expiring = append(data.Expiring, Expiring{e.Role, e.Version, e.At, e.Online, !r.Now.Before(e.At)})
		}
	}
	if len(st.Waiting) == 0 {
		return nil
	}
	states, err := keyring.States(r.Ctx(), m.Read.DB)
	if err != nil {
		return err
	}
	for _, w := range st.Waiting {
		s := Signatures{w.Role, w.Have, w.Need, []string{}}
		for _, id := range w.Missing {
			i := slices.IndexFunc(states, func(k keyring.State) bool { return k.Key.KeyID == id })
			who := "root key " + id[:min(8, len(id))] // root keys have no holder in the log
			if i >= 0 {
				who = states[i].Key.Holder
			}
			s.Who = append(s.Who, who)
		}
		data.Signatures = append(data.Signatures, s)
	}
	return nil
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339)
}

// stateWord is the one word of a row.
func (x Item) stateWord() (tone, word string) {
	switch {
	case x.Overdue:
		return "bad", "Overdue"
	case x.Emergency:
		return "bad", "Emergency"
	case x.State == string(office.Logged):
		return "warn", "Logged"
	}
	return stateTone(x.State)
}
