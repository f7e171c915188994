// Package release is the pages of releases: what was published, what is proposed,
// and for one version its files, where they came from, who approved them, what is
// in them, and whether it was taken back.
//
// It promises that every claim about a published release carries the seal of the
// log entry that makes it, and that a revoked release says so before anything
// else. It refuses drafts to whom no policy lets read them; to the public a draft
// is not there.
//
// Start at [Room.Routes].
package release

import (
	"context"
	"os"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/internal/base/programme"
	"clerestory.dev/clerestory/internal/gate/passkey"
	"clerestory.dev/clerestory/internal/gate/policy"
	"clerestory.dev/clerestory/internal/ledger/signing"
	office "clerestory.dev/clerestory/internal/office/release"
	"clerestory.dev/clerestory/internal/window/portal/detection"
	"clerestory.dev/clerestory/internal/window/portal/frame"
	"clerestory.dev/clerestory/internal/window/portal/record"
	"clerestory.dev/clerestory/statement"
	"clerestory.dev/clerestory/verify"
)

// Office is the room that makes releases; *office.Service is one.
type Office interface {
	List(context.Context, office.Filter) ([]*office.Release, error)
	Show(ctx context.Context, product, version string) (*office.Release, error)
	// Bundle makes FILE.clerestory for the file with this SHA-256.
	Bundle(ctx context.Context, sha string) ([]byte, error)
	// Approve adds a person's signature to the proposal with this hash.
	Approve(ctx context.Context, product, version, payloadHash string, signer statement.Signer) (*office.Release, error)
	// Assemble adds answers to signing requests that the office has handed out.
	Assemble(ctx context.Context, product, version string, answers []*signing.Response) (*office.Release, error)
	// Missing is what a release waits for; Board is all that anybody waits for.
	Missing(context.Context, *office.Release) ([]office.Need, error)
	Board(ctx context.Context, person string) ([]office.Waiting, error)
	Gates(ctx context.Context, product string, files []office.File, sbom string, names []string) ([]office.Gate, error)
	Afterwards(context.Context, *office.Release) (office.Afterwards, error)
	Steps(context.Context, *office.Release) ([]office.Step, error)
}

// Blobs hands out files by hash, verified.
type Blobs interface {
	Open(sha string) (*os.File, error)
}

// Guard decides and records; *door.Guard is one.
type Guard interface {
	Allow(ctx context.Context, actor passkey.Person, action, object string, attrs map[string]any) error
	Decide(actor passkey.Person, action, object string, attrs map[string]any) policy.Decision
}

// Room is the pages. Without Touches nobody approves here, and without Keys
// nobody unlocks a key here: the command line does both.
type Room struct {
	Office Office
	Blobs  Blobs
	Guard  Guard
	Read   *record.Reader
	URL    string // the portal's own
	// Advisories finds the advisories that name a release; nil shows none.
	Advisories Advisories
	// Touches and Keys may be nil.
	Touches Touches
	Keys    Keys
	// Rule is the rule in force for a channel of a product.
	Rule func(product, channel string) (programme.Rule, bool)
	// Repository is what update clients get; nil where there is none.
	Repository Repository
	// Bases tells what changed in a release that is a detection base.
	Bases *detection.Room
}

const (
	pageSize = 50
	// filesShown is how many files a page lists; .json and .csv have all.
	filesShown = 500
	// sbomShown is how many components a page lists.
	sbomShown = 1000
)

// Routes are the room's pages.
func (m *Room) Routes() []frame.Route {
	const one = "/releases/{product}/{version}"
	return []frame.Route{
		{Method: "GET", Path: "/work", Formats: []string{"json", "csv"}, Summary: "What waits for you, oldest deadline first, and what waits for others", Data: Work{}, Staff: true, Serve: m.board},
		{Method: "GET", Path: "/releases", Formats: []string{"json", "csv"}, Summary: "Releases, newest first; for those who may read them, drafts too", Data: List{},
			Query: []frame.Param{{Name: "product", Hint: "id of a product"}, {Name: "before", Hint: "cursor: the id that next gave"}}, Serve: m.list},
		{Method: "GET", Path: one, Formats: []string{"json", "csv"}, Summary: "One release: files, provenance, approvals, state; .csv lists the files", Data: Detail{}, Serve: m.show},
		{Method: "GET", Path: one + "/sbom", Formats: []string{"json", "csv"}, Summary: "The bill of materials of a release", Data: Materials{},
			Query: []frame.Param{{Name: "q", Hint: "part of a name, version or package URL"}, {Name: "sort", Hint: "name, version or purl; with a minus in front, from the end"}}, Serve: m.sbom},
		{Method: "POST", Path: one + "/approve", Summary: "Approve a proposal, with a touch of the passkey and a signature over exactly its text", Staff: true, Serve: m.approve,
			Query: []frame.Param{{Name: "hash", Hint: "SHA-256 of the text"}, {Name: "way", Hint: "answer or key"}, {Name: "answer", Hint: "file: a signing response"},
				{Name: "passphrase", Hint: "of the person's key, if the vendor keeps its file"}, {Name: "touch", Hint: "the browser's answer to /gate/touch"}}},
		{Method: "GET", Path: one + "/request", Machine: true, Type: signing.RequestType, Summary: "The text of a proposal for clerestory sign", Staff: true, Serve: m.request},
		{Method: "GET", Path: one + "/files/{name...}", Machine: true, Type: "application/octet-stream", Summary: "A released file", Serve: m.file},
		{Method: "GET", Path: one + "/bundles/{name...}", Machine: true, Type: verify.BundleType, Summary: "FILE.clerestory: all that is needed to verify FILE offline, but the trusted root", Serve: m.bundle},
	}
}

// Summary is a release in a list.
type Summary struct {
	Product string    `json:"product"`
	Version string    `json:"version"`
	Channel string    `json:"channel"`
	State   string    `json:"state"` // one of the states of docs/guide/release-process.md
	Entry   int64     `json:"entry"` // log entry of the release, -1 for a draft
	At      time.Time `json:"at"`
	By      string    `json:"proposedBy,omitempty"` // of drafts
}

// List is a page of releases.
type List struct {
	Releases []Summary `json:"releases"`
	Drafts   []Summary `json:"drafts,omitempty"`
	Next     string    `json:"next,omitempty"` // URL of the page after this
}

func summary(r *office.Release) Summary {
	s := Summary{r.Statement.Product, r.Statement.Version, r.Statement.Channel, string(r.State), r.Entry, r.PublishedAt, ""}
	if !r.State.Said() {
		s.At, s.By = r.ProposedAt, r.ProposedBy
	}
	return s
}

// mayRead lets the public read what is published, and asks the policies about
// the rest. To somebody who has not signed in, a draft is not there.
func (m *Room) mayRead(r *frame.Request, rel *office.Release) error {
	if rel.State.Said() {
		return nil
	}
	if !r.Visitor.SignedIn() {
		return fault.NotFound.New("there is no release %s %s", rel.Statement.Product, rel.Statement.Version)
	}
	return m.Guard.Allow(r.Ctx(), r.Visitor.Person, "release:read-draft", "release:"+rel.Statement.Product+"/"+rel.Statement.Version, nil)
}

// find reads the release that the URL names, if the visitor may.
func (m *Room) find(r *frame.Request) (*office.Release, error) {
	product, version := r.PathValue("product"), r.PathValue("version")
	if statement.CheckID("product", product) != nil || statement.CheckVersion(version) != nil {
		return nil, fault.NotFound.New("there is no such release")
	}
	rel, err := m.Office.Show(r.Ctx(), product, version)
	if err != nil {
		return nil, err
	}
	return rel, m.mayRead(r, rel)
}

func stateTone(state string) (tone, word string) {
	switch office.State(state) {
	case office.Published:
		return "ok", "Published"
	case office.Superseded:
		return "", "Superseded"
	case office.Logged:
		return "warn", "Waiting for witnesses"
	case office.Revoked:
		return "bad", "Revoked"
	}
	return "warn", capital(state)
}

func path(product, version string) string { return "/releases/" + product + "/" + version }
