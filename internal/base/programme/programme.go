// Package programme is the programme folder: what a vendor binds itself to, as
// files that people review (YAML for facts, Markdown for pages, Cedar for access
// rules), checked, compared with what is in force, and put in force.
//
// It promises: everything that is wrong with a folder is reported at once, each
// with file, line, column and how to mend it; a [Programme] that was returned
// without an error keeps every rule of docs/spec/programme.md; putting one in
// force and saying so to the log is one transaction, and doing it twice is the
// same as once; people's names never get into a statement.
//
// It refuses what it does not know: keys, files and roles that an older or newer
// version might read differently, links, special files, and text that shows
// something else than it says. It has no clock, and does not parse Cedar:
// package policy (internal/gate) does.
//
// Start at [Open]; then [Plan], [Apply], [Current]. [Init] writes a first folder.
// A further kind of file is one more row in the table kinds.
package programme

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"clerestory.dev/clerestory/internal/base/fault"
)

// Limits are the caps on a programme folder, in one place. FileList and Changes
// are bytes of JSON in the statement: together with eight signatures they stay
// below what one log entry holds.
var Limits = struct {
	File, Folder    int64 // bytes
	Files, Folders  int   // how many
	Deep            int   // folders within folders, and YAML within YAML
	Tokens, OneLine int   // YAML tokens in a file, and on one line
	Empty           int   // empty lines in a row
	Column          int   // where a line of YAML may start
	Problems        int   // reported at once
	FileList        int
	Changes         int
	Name, Line      int // bytes of a name, and of other text that is one line
	Text            int // bytes of a text of several lines
	Products        int
	Channels        int // of one product
	People          int
	Approvals       int
	Contacts        int // of security.txt; also its languages
	Scope           int // lines on what reports may be about
	Days            int // of a promise to a reporter
}{
	File: 256 << 10, Folder: 8 << 20, Files: 400, Folders: 100, Deep: 10,
	Tokens: 60_000, OneLine: 400, Empty: 20, Column: 60, Problems: 100,
	FileList: 38 << 10, Changes: 5 << 10,
	Name: 120, Line: 512, Text: 4096,
	Products: 64, Channels: 16, People: 500, Approvals: 16, Contacts: 8, Scope: 50, Days: 730,
}

// Programme is a programme folder as read. The tags are the format: a key
// without omitempty must be there, and "is" is what the reader is told about it.
type Programme struct {
	Vendor    Vendor    `yaml:"vendor" is:"who makes the promises"`
	Log       Log       `yaml:"log" is:"the log that the statements go to"`
	Approvals int       `yaml:"approvals" is:"how many different people must approve a release, 2 or more"`
	Products  []Product `yaml:"products" is:"what is released under this programme"`
	People    []Person  `yaml:"people" is:"who acts for the vendor, and in which roles"`
	Security  Security  `yaml:"security" is:"what /.well-known/security.txt says (RFC 9116)"`
	// Salt makes the hash of programme.yaml, which is public for ever, useless for
	// guessing a person's name that stands in it.
	Salt string `yaml:"salt,omitempty" is:"22 or more random letters and digits, needed when a person's name is given"`

	About      string `yaml:"-"` // about.md: Markdown, as written
	Disclosure string `yaml:"-"` // security.md, the same; may be empty
	Files      []File `yaml:"-"` // every file of the folder, sorted by path
}

// Vendor is who makes the promises.
type Vendor struct {
	ID      string `yaml:"id" is:"a short id, such as acme; it can never change"`
	Name    string `yaml:"name" is:"the name as people read it"`
	URL     string `yaml:"url" is:"the vendor's web site, https://…"`
	Contact string `yaml:"contact" is:"where questions about the programme go: mailto:… or https://…"`
}

// Log names the transparency log.
type Log struct {
	Origin string `yaml:"origin" is:"the log's name in checkpoints (C2SP), such as acme.example/log; it can never change"`
	URL    string `yaml:"url" is:"where everyone can read the log's files, https://…"`
}

// Product is something that is released.
type Product struct {
	ID          string   `yaml:"id" is:"a short id, such as agent"`
	Name        string   `yaml:"name" is:"the name as people read it"`
	Description string   `yaml:"description" is:"what it does, in a sentence or two"`
	Repository  string   `yaml:"repository" is:"where its source is: a URL or a name"`
	Channels    []string `yaml:"channels" is:"the channels that it is released on, such as stable"`
	Rules       []Rule   `yaml:"rules,omitempty" is:"how its releases come about; without rules, the approvals above and one signature"`
}

// Person is somebody, or a machine, that acts for the vendor.
type Person struct {
	ID    string   `yaml:"id" is:"a short id, which statements and keys use in place of a name"`
	Name  string   `yaml:"name,omitempty" is:"the name that colleagues see; it never leaves this folder"`
	Roles []string `yaml:"roles" is:"what the person may do: admin, approver, release-engineer, auditor, duty-officer, security"`
}

// The roles that a person can have.
const (
	Admin           = "admin"
	Approver        = "approver"
	ReleaseEngineer = "release-engineer"
	Auditor         = "auditor"
	DutyOfficer     = "duty-officer" // approves when it can not wait
	Responder       = "security"     // deals with reports of weaknesses
)

// Roles lists the roles that a person can have.
var Roles = []string{Admin, Approver, ReleaseEngineer, Auditor, DutyOfficer, Responder}

// Security is the content of security.txt; see [Programme.SecurityTxt].
type Security struct {
	Contact         []string `yaml:"contact" is:"where a weakness is reported: mailto:…, https://… or tel:…, best first"`
	Expires         string   `yaml:"expires" is:"until when this is believed, such as 2027-06-30T00:00:00Z; at most a year ahead is usual"`
	Languages       []string `yaml:"languages" is:"languages that reports are read in, such as en"`
	Policy          string   `yaml:"policy,omitempty" is:"page with the disclosure policy, https://…"`
	Encryption      string   `yaml:"encryption,omitempty" is:"a key to encrypt reports with: https://…, dns:… or openpgp4fpr:…"`
	Acknowledgments string   `yaml:"acknowledgments,omitempty" is:"page that thanks reporters, https://…"`
	// What the page /security says, and whom reports sent there are encrypted to.
	Recipient   string   `yaml:"recipient,omitempty" is:"the public age key (age1…) that reports are encrypted to; without it the portal takes none"`
	Scope       []string `yaml:"scope,omitempty" is:"what reports may be about, a line each"`
	SafeHarbour string   `yaml:"safe_harbour,omitempty" is:"what you promise not to do to those who look in good faith"`
	Promises    Promises `yaml:"promises,omitempty" is:"how soon you act on a report"`
}

// kind is one kind of file in the folder.
type kind struct {
	pattern string // path.Match
	must    bool
	what    string
	read    func(p *Programme, r *reader, f File) // nil: it is only listed and hashed
}

// Main is the file that every programme has.
const Main = "programme.yaml"

// kinds are the files that a programme has, in the order in which they are read.
// A further kind is one more row: a pattern (path.Match) and how it is read;
// everything else (caps, digest, plan, storing, the statement) is the same.
var kinds = []kind{
	{Main, true, "the vendor, its log, products and people", readMain},
	{"about.md", true, "the about page, in Markdown", func(p *Programme, _ *reader, f File) { p.About = string(f.Content) }},
	{"security.md", false, "the disclosure policy, in Markdown", func(p *Programme, _ *reader, f File) { p.Disclosure = string(f.Content) }},
	{"README.md", false, "notes for those who edit the folder", nil},
	{"policies/*.cedar", false, "who may do what (Cedar)", nil},
}

// Open reads the programme folder dir. Links inside it are refused.
func Open(dir string) (*Programme, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fault.NotFound.New("opening the programme folder: %w", err)
	}
	defer root.Close()
	p, problems, err := read(root.FS())
	if err != nil {
		return nil, fmt.Errorf("reading the programme folder %s: %w", dir, err)
	}
	for i := range problems {
		problems[i].File = filepath.Join(dir, filepath.FromSlash(problems[i].File))
	}
	return checked(p, problems)
}

// Read reads a programme folder. When something is wrong with it, the error is
// of kind Invalid, wraps [Problems] and lists all of them.
func Read(folder fs.FS) (*Programme, error) {
	p, problems, err := read(folder)
	if err != nil {
		return nil, fmt.Errorf("reading the programme folder: %w", err)
	}
	return checked(p, problems)
}

func checked(p *Programme, problems Problems) (*Programme, error) {
	if len(problems) > 0 {
		return nil, fault.Invalid.New("%w", problems)
	}
	return p, nil
}

// read does what Read does, and keeps problems apart from failures to read.
func read(folder fs.FS) (*Programme, Problems, error) {
	r := &reader{}
	files, err := r.load(folder)
	if err != nil {
		return nil, nil, err
	}
	return r.assemble(files), r.sorted(), nil
}

// assemble makes the programme of its files, as far as they can be understood:
// one in force stays comparable when a newer version of this program is stricter.
func (r *reader) assemble(files []File) *Programme {
	p := &Programme{Files: files}
	for _, k := range kinds {
		found := false
		for _, f := range files {
			if !matches(k.pattern, f.Path) {
				continue
			}
			found = true
			if k.read != nil && !r.faulty(f.Path) {
				k.read(p, r, f)
			}
		}
		if k.must && !found && !r.faulty(k.pattern) {
			r.say(place{k.pattern, 1, 1}, "the file is missing", "add it: "+k.what)
		}
	}
	r.checkList(files)
	return p
}

func readMain(p *Programme, r *reader, f File) {
	d := r.decode(f, p)
	if d != nil {
		check(p, d)
	}
}
