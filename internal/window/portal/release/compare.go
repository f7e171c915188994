package release

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/ledger/signing"
	office "clerestory.dev/clerestory/internal/office/release"
	"clerestory.dev/clerestory/internal/window/portal/detection"
	"clerestory.dev/clerestory/statement"
)

// Compared is how a proposal's files differ from those of the release before it
// in its channel.
type Compared struct {
	To      string   `json:"to"` // the version before; empty for the first one
	Changes []Change `json:"changes"`
	Same    int      `json:"same"` // files with the same bytes
}

// Change is one file that is not the same. Sums are empty where it is not there.
type Change struct {
	Name  string `json:"name"`
	What  string `json:"what"` // added, changed or removed
	Old   string `json:"old,omitempty"`
	New   string `json:"new,omitempty"`
	Grown int64  `json:"grown"` // bytes; negative when it shrank
}

// looked is how many published releases are looked through for the one before.
const looked = 200

// compare finds the newest release of the channel that is in force.
func (m *Room) compare(ctx context.Context, rel *office.Release) (*Compared, error) {
	all, err := m.Office.List(ctx, office.Filter{Product: rel.Statement.Product, Limit: looked})
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(o *office.Release) bool {
		return !o.State.Said() || o.State == office.Revoked || o.Statement.Channel != rel.Statement.Channel
	})
	if len(all) == 0 {
		return &Compared{Changes: []Change{}}, nil
	}
	newest := slices.MaxFunc(all, func(a, b *office.Release) int { return cmp.Compare(a.Entry, b.Entry) })
	before, err := m.Office.Show(ctx, newest.Statement.Product, newest.Statement.Version)
	if err != nil {
		return nil, err
	}
	c := differ(before.Files, rel.Files)
	c.To = before.Statement.Version
	return c, nil
}

// base tells what changed in a proposal that is a detection base; nil when it is
// none.
func (m *Room) base(ctx context.Context, rel *office.Release) (*detection.Update, error) {
	if m.Bases == nil {
		return nil, nil
	}
	return m.Bases.Draft(ctx, detection.Draft{Release: rel.Statement, Files: sums(rel.Files), Proposed: rel.ProposedAt})
}

func sums(files []office.File) map[string]string {
	all := map[string]string{}
	for _, f := range files {
		all[f.Name] = f.SHA256
	}
	return all
}

// differ compares two lists of files by name. Names that hold the version are
// other names: then a file is gone and another has come, which is what happened.
func differ(before, after []office.File) *Compared {
	c := &Compared{Changes: []Change{}}
	old := map[string]office.File{}
	for _, f := range before {
		old[f.Name] = f
	}
	for _, f := range after {
		was, known := old[f.Name]
		delete(old, f.Name)
		switch {
		case !known:
			c.Changes = append(c.Changes, Change{f.Name, "added", "", f.SHA256, f.Size})
		case was.SHA256 != f.SHA256:
			c.Changes = append(c.Changes, Change{f.Name, "changed", was.SHA256, f.SHA256, f.Size - was.Size})
		default:
			c.Same++
		}
	}
	for _, f := range old {
		c.Changes = append(c.Changes, Change{f.Name, "removed", f.SHA256, "", -f.Size})
	}
	slices.SortFunc(c.Changes, func(a, b Change) int { return cmp.Compare(a.Name, b.Name) })
	return c
}

// sightOf decodes what an approver signs from the very bytes, as clerestory sign
// shows it.
func sightOf(rel *office.Release) (*signing.Sight, error) {
	s, err := signing.Describe(&signing.Request{Purpose: signing.DSSE, PayloadType: statement.PayloadType, Payload: rel.Payload})
	if err != nil {
		return nil, fault.Tampered.New("reading what is to be signed: %w", err)
	}
	if s.SHA256 != rel.PayloadHash {
		return nil, fault.Tampered.New("reading what is to be signed: its hash is %s, not %s", s.SHA256, rel.PayloadHash)
	}
	return s, nil
}

func grown(n int64) string {
	switch {
	case n > 0:
		return fmt.Sprintf("+%d B", n)
	case n < 0:
		return fmt.Sprintf("\u2212%d B", -n)
	}
	return "0 B"
}
