// Package detection is the pages of detection bases: every update of a base with
// the rules that it changed, what its tests came to, who approved it and who gets
// it; a calendar of updates; and what was taken back and why.
//
// It promises that what it tells of an update comes from statements in the log
// and from the released bytes that they name, read again: the rules that changed
// are compared here, not taken from anybody's word. An emergency release whose
// review is due says so, in red, until the review is in the log. It refuses to
// call a release a base whose manifest.json is not one.
//
// Start at [Room.Routes]; [Room.Draft] is the same for a proposal.
package detection

import (
	"context"
	"os"
	"sync"
	"time"

	"clerestory.dev/clerestory/internal/gate/passkey"
	office "clerestory.dev/clerestory/internal/office/detection"
	"clerestory.dev/clerestory/internal/window/portal/frame"
	"clerestory.dev/clerestory/internal/window/portal/record"
	"clerestory.dev/clerestory/update"
)

// Blobs hands out files by hash, verified.
type Blobs interface {
	Open(sha string) (*os.File, error)
}

// Heads is what clients are offered; *repository.Service is one.
type Heads interface {
	Heads(ctx context.Context) ([]*update.Head, error)
}

// Guard decides and records; *door.Guard is one.
type Guard interface {
	Allow(ctx context.Context, actor passkey.Person, action, object string, attrs map[string]any) error
}

// Room is the pages.
type Room struct {
	Guard Guard
	Read  *record.Reader
	Blobs Blobs
	Heads Heads // nil where no update repository is kept

	mu        sync.Mutex           // guards the caches
	manifests map[string]*manifest // by SHA-256
	diffs     map[string]*Rules
	accounts  map[string]*account // by SHA-256 of the report
	comparing sync.Mutex          // held while two bases are in memory
}

// Caps bound what one page reads.
var Caps = struct {
	Manifest int64 // bytes of a manifest.json
	Base     int64 // bytes of a base that is compared for a page
	Kept     int   // manifests and comparisons that are remembered
	Page     int   // updates on a page
	Read     int   // release statements that are looked through for a page
	Changes  int   // changes that a page lists; .json has all
}{Manifest: 1 << 20, Base: 64 << 20, Kept: 512, Page: 20, Read: 2000, Changes: 200}

// Routes are the room's pages.
func (m *Room) Routes() []frame.Route {
	before := frame.Param{Name: "before", Hint: "cursor: the log entry that next gave"}
	return []frame.Route{
		{Method: "GET", Path: "/bases", Formats: []string{"json", "csv"}, Summary: "The detection bases, and a month of their updates", Data: Calendar{},
			Query: []frame.Param{{Name: "month", Hint: "such as 2026-11; the newest update's if absent"}}, Serve: m.calendar},
		{Method: "GET", Path: "/bases/{product}", Formats: []string{"json", "csv"}, Summary: "Every update of a detection base, newest first: changed rules, tests, approvals, rings, what was taken back", Data: History{},
			Query: []frame.Param{before}, Serve: m.history},
		{Method: "GET", Path: "/bases/{product}/{version}", Formats: []string{"json", "csv"}, Summary: "One update of a base: each rule that changed, and what each test came to", Data: Update{}, Serve: m.one},
		{Method: "GET", Path: "/bases/reports/{n}", Machine: true, Type: "application/json", Summary: "The full report of the test in log entry n, once its files are released", Serve: m.report},
	}
}

// Update is one update of a base. Entries are log entries; -1 is none.
type Update struct {
	Product   string        `json:"product"`
	Version   string        `json:"version"`
	Channel   string        `json:"channel"`
	State     string        `json:"state"` // published or revoked; proposed for a draft
	At        time.Time     `json:"at"`
	Entry     int64         `json:"entry"`
	Counts    office.Counts `json:"counts"`
	Content   string        `json:"content"` // digest of what it detects
	Rules     *Rules        `json:"rules"`
	Tests     []Test        `json:"tests"`
	Replay    *Replay       `json:"replay,omitempty"` // only where one update is told of
	Approvals []string      `json:"approvals"`
	Ring      *Ring         `json:"ring,omitempty"`
	Revoked   *Revoked      `json:"revoked,omitempty"`
	Emergency *Emergency    `json:"emergency,omitempty"`
}

// Rules is what changed against the update before in the channel.
type Rules struct {
	To      string          `json:"to"` // the version before; empty for the first
	Sums    []Sum           `json:"sums"`
	Changes []office.Change `json:"changes"`
	// Not says why the two could not be compared here.
	Not string `json:"not,omitempty"`
}

// Sum counts changes of one kind of thing.
type Sum struct {
	What    string `json:"what"` // rule, hash, pattern, logical or base
	Added   int    `json:"added"`
	Changed int    `json:"changed"`
	Renamed int    `json:"renamed"`
	Removed int    `json:"removed"`
}

// Test is what a test of these very bytes came to, as a tester's statement says.
type Test struct {
	Gate    string           `json:"gate"`
	Result  string           `json:"result"` // PASSED, WARNED or FAILED
	Entry   int64            `json:"entry"`
	By      []string         `json:"by"`
	At      time.Time        `json:"at"`
	With    []string         `json:"with"` // corpora, engines
	Passed  []string         `json:"passed"`
	Failed  []string         `json:"failed"`
	Numbers map[string]int64 `json:"numbers"`
	Report  string           `json:"report,omitempty"` // SHA-256 of the full report
}

// Ring says for whom an update is now.
type Ring struct {
	Percent int  `json:"percent"` // of clients; 0 is held back
	Halted  bool `json:"halted"`
}

// Revoked says which entry took an update back, and why.
type Revoked struct {
	By     int64  `json:"by"`
	Reason string `json:"reason"`
}

// Emergency is an update that did not go the usual way.
type Emergency struct {
	Why    string    `json:"why"`
	Due    time.Time `json:"due"` // when the review is due
	Review *Review   `json:"review,omitempty"`
}

// Review is what came of looking at it afterwards.
type Review struct {
	Entry    int64     `json:"entry"`
	Outcome  string    `json:"outcome"` // upheld or objected
	Findings string    `json:"findings"`
	By       []string  `json:"by"`
	At       time.Time `json:"at"`
}
