package verify

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"clerestory.dev/clerestory/statement"
)

// File is one file of a release.
type File struct {
	Name   string // as statement.CheckFileName allows
	SHA256 string // hex
}

// line is the file's line in the manifest, which is a sha256sum(1) file: leaf of
// the manifest's tree, without the newline.
func (f File) line() []byte { return []byte(f.SHA256 + "  " + f.Name) }

// Manifest is the list of a release's files, sorted by name, with the RFC 6962
// tree over its lines. One file of a million is proven by twenty hashes.
type Manifest struct {
	Files  []File
	hashes []tlog.Hash
}

// NewManifest sorts files and hashes them. Names must be proper and different.
func NewManifest(files []File) (*Manifest, error) {
	m := &Manifest{Files: slices.Clone(files)}
	slices.SortFunc(m.Files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	for i, f := range m.Files {
		if err := statement.CheckFileName(f.Name); err != nil {
			return nil, err
		}
		if raw, err := hex.DecodeString(f.SHA256); err != nil || len(raw) != 32 || hex.EncodeToString(raw) != f.SHA256 {
			return nil, fmt.Errorf("file %q has no proper sha256", f.Name)
		}
		if i > 0 && m.Files[i-1].Name == f.Name {
			return nil, fmt.Errorf("file %q stands twice", f.Name)
		}
		h, err := tlog.StoredHashes(int64(i), f.line(), m.reader())
		if err != nil {
			return nil, fmt.Errorf("hashing the manifest: %w", err)
		}
		m.hashes = append(m.hashes, h...)
	}
	if len(m.Files) == 0 {
		return nil, fmt.Errorf("there is no file")
	}
	return m, nil
}

func (m *Manifest) reader() tlog.HashReader {
	return tlog.HashReaderFunc(func(index []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(index))
		for i, n := range index {
			out[i] = m.hashes[n]
		}
		return out, nil
	})
}

// Tree is what the release statement says of the manifest.
func (m *Manifest) Tree() statement.Tree {
	root, err := tlog.TreeHash(int64(len(m.Files)), m.reader())
	if err != nil { // only a reader that fails makes it fail, and ours does not
		panic(err)
	}
	return statement.Tree{Files: int64(len(m.Files)), Root: hex.EncodeToString(root[:])}
}

// Text is the manifest as a file that sha256sum -c understands.
func (m *Manifest) Text() []byte {
	var b []byte
	for _, f := range m.Files {
		b = append(append(b, f.line()...), '\n')
	}
	return b
}

// Subjects are the subjects of the release statement.
func (m *Manifest) Subjects(product, version string) []statement.Subject {
	t := m.Tree()
	if t.Files > statement.InlineFiles {
		return []statement.Subject{{Name: product + "@" + version, Digest: map[string]string{"sha256": t.Root}}}
	}
	var s []statement.Subject
	for _, f := range m.Files {
		s = append(s, statement.Subject{Name: f.Name, Digest: map[string]string{"sha256": f.SHA256}})
	}
	return s
}

// Member proves that a file is in a release's manifest.
type Member struct {
	Name   string   `json:"name"`
	SHA256 string   `json:"sha256"`
	Index  int64    `json:"index"`
	Hashes []string `json:"hashes"` // hex, leaf to root
}

// Member makes the proof for file i.
func (m *Manifest) Member(i int) (*Member, error) {
	p, err := tlog.ProveRecord(int64(len(m.Files)), int64(i), m.reader())
	if err != nil {
		return nil, fmt.Errorf("proving a file of the manifest: %w", err)
	}
	mb := &Member{Name: m.Files[i].Name, SHA256: m.Files[i].SHA256, Index: int64(i)}
	for _, h := range p {
		mb.Hashes = append(mb.Hashes, hex.EncodeToString(h[:]))
	}
	return mb, nil
}

// in proves the member against a release's manifest.
func (m *Member) in(t statement.Tree) error {
	bad := refuse(CodeProof, "the file's place in the release's manifest is not proven")
	root, err := hex.DecodeString(t.Root)
	if err != nil || len(root) != tlog.HashSize || m.Index < 0 || m.Index >= t.Files || len(m.Hashes) > Limits.Proof || statement.CheckFileName(m.Name) != nil {
		return bad
	}
	var p tlog.RecordProof
	for _, s := range m.Hashes {
		h, err := hex.DecodeString(s)
		if err != nil || len(h) != tlog.HashSize {
			return bad
		}
		p = append(p, tlog.Hash(h))
	}
	if tlog.CheckRecord(p, t.Files, tlog.Hash(root), m.Index, tlog.RecordHash(File{m.Name, m.SHA256}.line())) != nil {
		return bad
	}
	return nil
}
