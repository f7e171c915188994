package detection

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"clerestory.dev/clerestory/internal/base/atomicfile"
	"clerestory.dev/clerestory/internal/base/fault"
	"clerestory.dev/clerestory/statement"
)

// ManifestType names the form of manifest.json.
const ManifestType = "application/vnd.clerestory.base.v1+json"

// Manifest is manifest.json of a released base: what it is, what is in it, and
// where it comes from.
type Manifest struct {
	MediaType string `json:"mediaType"`
	About
	Counts Counts   `json:"counts"`
	Files  []Packed `json:"files"` // sorted by name
	// Content is the SHA-256 of the lines "SHA256  NAME" of the files: it names what
	// the base detects, whatever commit it was made from.
	Content string `json:"content"`
	Commit  string `json:"commit,omitempty"`
	Tree    string `json:"tree,omitempty"`
}

// Packed is one file of the released form.
type Packed struct {
	Name    string `json:"name"`
	SHA256  string `json:"sha256"`
	Size    int64  `json:"size"`
	Content []byte `json:"-"`
}

// Pack is the released form of a base: a few files of sorted LF text, and
// manifest.json last. The same base gives the same bytes.
type Pack struct {
	Manifest Manifest
	Files    []Packed
	Digest   string // Manifest.Content
}

// Pack makes the released form.
func (b *Base) Pack() (*Pack, error) {
	p := &Pack{Manifest: Manifest{MediaType: ManifestType, About: b.About, Counts: b.Counts(), Commit: b.Commit, Tree: b.Tree}}
	for _, d := range released {
		if content := b.text(d.format); content != "" {
			p.Files = append(p.Files, packed(d.name, []byte(content)))
		}
	}
	if len(p.Files) == 0 {
		return nil, fault.Invalid.New("packing the base: it detects nothing: it has no rule, hash or pattern")
	}
	slices.SortFunc(p.Files, func(x, y Packed) int { return strings.Compare(x.Name, y.Name) })
	p.Manifest.Files = slices.Clone(p.Files)
	p.Manifest.Content = contentOf(p.Files)
	p.Digest = p.Manifest.Content
	text, err := json.MarshalIndent(p.Manifest, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("packing the base: %w", err)
	}
	p.Files = append(p.Files, packed(ManifestName, append(text, '\n')))
	return p, nil
}

// text is everything of one format in its released form.
func (b *Base) text(format string) string {
	var out strings.Builder
	if format != YARA {
		lines := make([]string, len(b.Entries[format]))
		for i, e := range b.Entries[format] {
			lines[i] = e.Line
		}
		slices.Sort(lines)
		for _, line := range lines {
			out.WriteString(line + "\n")
		}
		return out.String()
	}
	if len(b.Rules) == 0 {
		return ""
	}
	for _, name := range b.Imports {
		fmt.Fprintf(&out, "import %q\n", name)
	}
	for _, r := range b.Rules {
		r.write(&out)
	}
	return out.String()
}

func packed(name string, content []byte) Packed {
	sum := sha256.Sum256(content)
	return Packed{name, hex.EncodeToString(sum[:]), int64(len(content)), content}
}

// contentOf is the digest over files sorted by name: what sha256sum prints for
// them, hashed once more.
func contentOf(files []Packed) string {
	var b strings.Builder
	for _, f := range files {
		fmt.Fprintf(&b, "%s  %s\n", f.SHA256, f.Name)
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:])
}

// Write puts the released form into a folder, manifest.json last: a folder that
// has one is whole. It refuses a folder that holds anything else.
func (p *Pack) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fault.Unavailable.New("writing the base: %w", err)
	}
	have, err := os.ReadDir(dir)
	if err != nil {
		return fault.Unavailable.New("writing the base: %w", err)
	}
	for _, d := range have {
		i := slices.IndexFunc(p.Files, func(f Packed) bool { return f.Name == d.Name() })
		if i < 0 {
			return fault.Conflict.New("writing the base: %s holds %s, which is not part of it: name an empty folder", dir, plain(d.Name()))
		}
		old, err := os.ReadFile(filepath.Join(dir, d.Name()))
		if err != nil || string(old) != string(p.Files[i].Content) {
			return fault.Conflict.New("writing the base: %s holds another base: name an empty folder", dir)
		}
	}
	for _, f := range p.Files {
		if err := atomicfile.Write(filepath.Join(dir, f.Name), f.Content, 0o644); err != nil {
			return fault.Unavailable.New("writing %s: %w", f.Name, err)
		}
	}
	return nil
}

// Subjects are the subjects of statements about the released base.
func (p *Pack) Subjects() []statement.Subject {
	var all []statement.Subject
	for _, f := range p.Files {
		all = append(all, statement.Subject{Name: f.Name, Digest: map[string]string{"sha256": f.SHA256}})
	}
	slices.SortFunc(all, func(x, y statement.Subject) int { return strings.Compare(x.Name, y.Name) })
	return all
}

// released holds a folder in released form against its manifest.
func (r *reader) released(b *Base, manifest string) {
	at := place{ManifestName, 1, 1}
	var m Manifest
	if err := statement.Decode([]byte(manifest), &m); err != nil || m.MediaType != ManifestType {
		r.say(at, fmt.Sprintf("this is not the manifest of a released base: %v", err), "pack the base again")
		return
	}
	var have []Packed
	for _, f := range b.Files {
		if f.Path != ManifestName {
			have = append(have, packed(f.Path, []byte(f.Content)))
		}
	}
	same := slices.EqualFunc(have, m.Files, func(x, y Packed) bool { return x.Name == y.Name && x.SHA256 == y.SHA256 && x.Size == y.Size })
	if !same || contentOf(have) != m.Content {
		r.say(at, "the files are not those that the manifest names", "a released base is never changed: pack the base again, as another version")
		return
	}
	b.About, b.Commit, b.Tree = m.About, m.Commit, m.Tree
}
