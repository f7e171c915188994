// Package advisory is the pages of weaknesses: advisories about released versions,
// the folder that CSAF readers ask for, how to report a weakness, and for those who
// deal with reports, what waits for them.
//
// It promises that a claim about a version carries the seal of the log entry that
// makes it; that what somebody reports is encrypted before it is stored, and
// appears on no page, in no log and in no address; and that reporting needs no
// account, no script and no name. It refuses to show a report: staff download what
// was encrypted, and open it where the private key is.
//
// Start at [Room.Routes].
package advisory

import (
	"context"
	"net/http"
	"net/netip"

	"clerestory.dev/clerestory/internal/base/programme"
	"clerestory.dev/clerestory/internal/base/store"
	"clerestory.dev/clerestory/internal/gate/passkey"
	office "clerestory.dev/clerestory/internal/office/advisory"
	"clerestory.dev/clerestory/internal/window/portal/frame"
	"clerestory.dev/clerestory/internal/window/portal/record"
)

// Office is the room behind the pages; *office.Service is one.
type Office interface {
	List(context.Context) ([]*office.Advisory, error)
	Show(ctx context.Context, slug string) ([]*office.Advisory, error)
	Version(ctx context.Context, slug, version string) (*office.Advisory, error)
	File(ctx context.Context, path string) (*office.ProviderFile, error)
	Receive(context.Context, office.Report) (*office.Received, error)
	Accounts(context.Context) ([]office.AccountEntry, error)
	Cases(ctx context.Context, limit int) ([]office.Case, error)
	Sealed(ctx context.Context, id string) ([]byte, error)
	Move(ctx context.Context, id, to string, record func(context.Context, *store.Tx) error) error
}

// Guard decides and records; *door.Guard is one.
type Guard interface {
	Allow(ctx context.Context, actor passkey.Person, action, object string, attrs map[string]any) error
	Permit(ctx context.Context, actor passkey.Person, action, object string, attrs map[string]any) (func(context.Context, *store.Tx) error, error)
}

// Room is the pages.
type Room struct {
	Office    Office
	Guard     Guard
	Read      *record.Reader
	Programme func() *programme.Programme
	URL       string // the portal's own
	// Address is who sent a request, for the limit on reports; nil believes the
	// connection. It is kept in memory only, and not for longer than an hour.
	Address func(*http.Request) netip.Addr

	limit limiter
}

const (
	pageSize = 100
	// casesShown is how many reports the staff page lists, those that wait first.
	casesShown = 500
)

// Routes are the room's pages.
func (m *Room) Routes() []frame.Route {
	machine := func(path, kind, summary string, serve func(*frame.Request) (*frame.Answer, error)) frame.Route {
		return frame.Route{Method: "GET", Path: path, Machine: true, Type: kind, Summary: summary, Serve: serve}
	}
	download := machine("/security/reports/{id}/report.age", "application/age", "A report of a weakness, encrypted, for those who deal with reports", m.sealed)
	download.Staff = true
	return []frame.Route{
		{Method: "GET", Path: "/advisories", Formats: []string{"json", "csv"}, Summary: "Security advisories, the newest version of each", Data: List{},
			Query: []frame.Param{{Name: "product", Hint: "id of a product"}, {Name: "before", Hint: "cursor: the id that next gave"}}, Serve: m.list},
		{Method: "GET", Path: "/advisories/{slug}", Formats: []string{"json"}, Summary: "One advisory: which versions are affected and fixed, what to do, and its versions", Data: Detail{}, Serve: m.show},
		machine("/advisories/{slug}/vex.json", "application/json", "The advisory's OpenVEX document, as it stands in the log", m.vex),
		machine("/advisories/{slug}/versions/{version}", "application/json", "A version of the advisory's CSAF 2.0 document, exact", m.document),
		machine(office.Folder+"{file...}", "application/json", "The provider's folder of CSAF 2.0 documents: provider-metadata.json, white/index.txt, white/changes.csv, documents with their hashes", m.file),
		{Method: "GET", Path: "/security", Formats: []string{"json"}, Summary: "How to report a weakness, what is promised, and how promises were kept", Data: Security{}, Serve: m.security},
		{Method: "POST", Path: "/security", Summary: "Report a weakness; the answer shows the reference once", Query: []frame.Param{
			{Name: "title", Hint: "in one line"}, {Name: "product", Hint: "id of a product, may be left out"}, {Name: "details", Hint: "at most 32768 bytes"},
			{Name: "contact", Hint: "how to reach you, may be left out"}, {Name: "credit", Hint: "how to name you, may be left out"}}, Serve: m.report},
		{Method: "GET", Path: "/security/reports", Formats: []string{"json", "csv"}, Summary: "Reports of weaknesses with their deadlines, without what they say", Data: Waiting{}, Staff: true, Serve: m.reports},
		{Method: "POST", Path: "/security/reports/{id}/step", Summary: "Record a step on a report", Query: []frame.Param{{Name: "to", Hint: "acknowledged, triaged, fixed, published or rejected"}}, Staff: true, Serve: m.step},
		download,
	}
}
