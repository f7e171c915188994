package programme

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"clerestory.dev/clerestory/statement"
)

// check applies the rules that go beyond the shape: what a value may be, and
// what values must say together. Values that the decoder left empty because it
// reported them are passed over.
func check(p *Programme, d *decoded) {
	d.id("vendor.id", p.Vendor.ID)
	d.line("vendor.name", p.Vendor.Name, Limits.Name)
	d.link("vendor.url", p.Vendor.URL, "https", "http")
	d.link("vendor.contact", p.Vendor.Contact, "mailto", "https")
	d.origin("log.origin", p.Log.Origin)
	d.link("log.url", p.Log.URL, "https", "http")
	d.products(p.Products)
	d.people(p)
	d.rules(p)
	d.security(p.Security)
}

// wrong reports a problem with the value at path, if the decoder has not already.
func (d *decoded) wrong(path, what, mend string) {
	d.say(d.at(path), path+" "+what, mend)
}

func (d *decoded) given(path, value string) bool {
	if value != "" {
		return true
	}
	// A key that is there and holds "" decodes without a complaint; a missing key,
	// or one of the wrong shape, has been reported at its place.
	if at, there := d.where[path]; there && !d.reported(at) {
		d.wrong(path, "is empty", "write a value, or remove the key if it is not needed")
	}
	return false
}

func (d *decoded) reported(at place) bool {
	return slices.ContainsFunc(d.problems, func(p Problem) bool {
		return p.File == at.file && p.Line == at.line && p.Column == at.column
	})
}

func (d *decoded) id(path, id string) {
	if d.given(path, id) && statement.CheckID(path, id) != nil {
		d.wrong(path, fmt.Sprintf("%q is not an id", clip(id, 70)), "use 1 to 64 of a-z, 0-9, '.', '_' and '-', starting with a letter or digit")
	}
}

func (d *decoded) line(path, s string, most int) {
	switch {
	case !d.given(path, s):
	case len(s) > most:
		d.wrong(path, fmt.Sprintf("has %d bytes", len(s)), fmt.Sprintf("shorten it to %d", most))
	case strings.ContainsAny(s, "\n\t") || strings.TrimSpace(s) != s:
		d.wrong(path, "must be one line without space around it", "join the lines and remove the space")
	}
}

func (d *decoded) prose(path, s string) {
	if d.given(path, s) && len(s) > Limits.Text {
		d.wrong(path, fmt.Sprintf("has %d bytes", len(s)), fmt.Sprintf("shorten it to %d, and put the rest into about.md", Limits.Text))
	}
}

// link checks an absolute URL of one of the schemes.
func (d *decoded) link(path, s string, schemes ...string) {
	if !d.given(path, s) {
		return
	}
	mend := "write a link that begins with " + strings.Join(schemes, ": or ") + ":"
	u, err := url.Parse(s)
	switch {
	case err != nil || len(s) > Limits.Line || strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune(`"<>\^{|}`+"`", c) }):
		d.wrong(path, "is not a link", mend+", without spaces; write letters outside ASCII as %XX or xn--")
	case !slices.Contains(schemes, u.Scheme):
		d.wrong(path, fmt.Sprintf("has the scheme %q", clip(u.Scheme, 20)), mend)
	case (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() == "":
		d.wrong(path, "names no host", mend)
	case u.User != nil:
		d.wrong(path, "holds a user name or password", "remove what stands before the @")
	case u.Scheme == "mailto" && !address.MatchString(u.Opaque):
		d.wrong(path, "is not a mail address", "write mailto:name@example.com")
	}
}

var address = regexp.MustCompile(`^[A-Za-z0-9._%+~=-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$`)

var originForm = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)*(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*$`)

// origin checks the log's name: a URL without scheme, as C2SP tlog-checkpoint
// recommends. Signed notes forbid space and '+' in it.
func (d *decoded) origin(path, s string) {
	if d.given(path, s) && (len(s) > Limits.Name || !originForm.MatchString(s)) {
		d.wrong(path, fmt.Sprintf("%q is not a log's name", clip(s, 70)), "write a host and a path without https://, such as acme.example/log")
	}
}

func (d *decoded) count(path string, n, most int) {
	if at, there := d.where[path]; n == 0 && there && !d.reported(at) {
		d.wrong(path, "is empty", "list at least one")
	} else if n > most {
		d.wrong(path, fmt.Sprintf("has %d entries", n), fmt.Sprintf("list at most %d", most))
	}
}

// unique reports the ids that stand twice; path has one %d.
func (d *decoded) unique(path string, ids []string) {
	first := map[string]int{}
	for i, id := range ids {
		here := fmt.Sprintf(path, i)
		if j, twice := first[id]; twice && id != "" {
			d.wrong(here, fmt.Sprintf("%q stands twice, first on line %d", clip(id, 70), d.at(fmt.Sprintf(path, j)).line), "keep one of them, or rename one")
		} else {
			first[id] = i
		}
	}
}

func (d *decoded) products(products []Product) {
	d.count("products", len(products), Limits.Products)
	var ids []string
	for i, p := range products {
		path := fmt.Sprintf("products[%d]", i)
		ids = append(ids, p.ID)
		d.id(path+".id", p.ID)
		d.line(path+".name", p.Name, Limits.Name)
		d.prose(path+".description", p.Description)
		d.line(path+".repository", p.Repository, Limits.Line)
		if strings.Contains(p.Repository, "://") {
			d.link(path+".repository", p.Repository, "https", "http", "ssh", "git")
		}
		d.count(path+".channels", len(p.Channels), Limits.Channels)
		for j, c := range p.Channels {
			d.id(fmt.Sprintf("%s.channels[%d]", path, j), c)
		}
		d.unique(path+".channels[%d]", p.Channels)
	}
	d.unique("products[%d].id", ids)
}

func (d *decoded) people(p *Programme) {
	d.count("people", len(p.People), Limits.People)
	var ids []string
	approvers, admins, unknown := 0, 0, false
	for i, who := range p.People {
		path := fmt.Sprintf("people[%d]", i)
		ids = append(ids, who.ID)
		d.id(path+".id", who.ID)
		if _, there := d.where[path+".name"]; there {
			d.line(path+".name", who.Name, Limits.Name)
			d.salted(path+".name", p.Salt)
		}
		d.count(path+".roles", len(who.Roles), len(Roles))
		for j, role := range who.Roles {
			if here := fmt.Sprintf("%s.roles[%d]", path, j); d.given(here, role) && !slices.Contains(Roles, role) {
				d.wrong(here, fmt.Sprintf("%q is not a role", clip(role, 70)), "use one of: "+strings.Join(Roles, ", "))
			}
		}
		d.unique(path+".roles[%d]", who.Roles)
		if slices.Contains(who.Roles, Approver) && !slices.Contains(ids[:i], who.ID) {
			approvers++
		}
		if slices.Contains(who.Roles, Admin) {
			admins++
		}
		// Roles that could not be read could be the missing ones: one mistake, one report.
		unknown = unknown || len(who.Roles) == 0
	}
	d.unique("people[%d].id", ids)
	if _, there := d.where["salt"]; there {
		d.salt(p.Salt)
	}
	if unknown {
		approvers = Limits.Approvals
	} else if len(p.People) > 0 && admins == 0 {
		d.say(d.at("people"), "nobody has the role admin", "give it to somebody")
	}
	d.approvals(p.Approvals, approvers)
}

func (d *decoded) approvals(n, approvers int) {
	at, there := d.where["approvals"]
	switch {
	case !there || n == 0 && d.reported(at):
	case n < 2:
		d.say(at, fmt.Sprintf("approvals is %d: one person alone could publish a release", n), "write 2 or more")
	case n > Limits.Approvals:
		d.say(at, fmt.Sprintf("approvals is %d", n), fmt.Sprintf("write at most %d", Limits.Approvals))
	case approvers < n && d.where["people"].file != "":
		d.say(at, fmt.Sprintf("approvals is %d, but only %d have the role approver: nothing could ever be released", n, approvers), "give more people the role approver, or ask for fewer approvals")
	}
}

// salted asks for a salt next to a person's name: the file's hash is public for
// ever, and without a salt anybody could try names until the hash fits.
func (d *decoded) salted(path, salt string) {
	if _, there := d.where["salt"]; !there && salt == "" {
		d.wrong(path, "is personal, and the file's public hash would let others test guesses of it", "add a line 'salt:' with 22 or more random letters and digits, or leave the name out")
	}
}

var saltForm = regexp.MustCompile(`^[A-Za-z0-9_-]{22,64}$`)

func (d *decoded) salt(s string) {
	if d.given("salt", s) && !saltForm.MatchString(s) {
		d.wrong("salt", "must be 22 to 64 letters and digits", "take random ones, for example from: openssl rand -hex 16")
	}
}

func (d *decoded) security(s Security) {
	d.disclosure(s)
	d.count("security.contact", len(s.Contact), Limits.Contacts)
	for i, c := range s.Contact {
		d.link(fmt.Sprintf("security.contact[%d]", i), c, "mailto", "https", "tel")
	}
	if d.given("security.expires", s.Expires) {
		if t, err := time.Parse(time.RFC3339, s.Expires); err != nil || t.Format("2006-01-02T15:04:05Z") != s.Expires {
			d.wrong("security.expires", fmt.Sprintf("%q is not a time in UTC", clip(s.Expires, 40)), "write it like 2027-06-30T00:00:00Z")
		}
	}
	d.count("security.languages", len(s.Languages), Limits.Contacts)
	for i, l := range s.Languages {
		if path := fmt.Sprintf("security.languages[%d]", i); d.given(path, l) && !languageForm.MatchString(l) {
			d.wrong(path, fmt.Sprintf("%q is not a language tag", clip(l, 40)), "write it like en or pt-BR")
		}
	}
	d.unique("security.languages[%d]", s.Languages)
	for _, f := range []struct {
		path, value string
		schemes     []string
	}{
		{"security.policy", s.Policy, []string{"https"}},
		{"security.encryption", s.Encryption, []string{"https", "dns", "openpgp4fpr"}},
		{"security.acknowledgments", s.Acknowledgments, []string{"https"}},
	} {
		if _, there := d.where[f.path]; there {
			d.link(f.path, f.value, f.schemes...)
		}
	}
}

var languageForm = regexp.MustCompile(`^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$`)
