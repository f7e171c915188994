package programme

import (
	"bytes"
	"crypto/rand"
	"embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"text/template"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
)

//go:embed templates/*.tmpl
var templates embed.FS

//go:embed schema/programme.schema.json
var schema []byte

// Schema is the JSON Schema (draft 2020-12) of programme.yaml, for editors.
func Schema() []byte { return bytes.Clone(schema) }

// Answers are what a first programme is written with. Whatever is empty gets a
// value of the imaginary vendor "example", which an operator then edits.
type Answers struct {
	Vendor          Vendor
	Log             Log
	Product         Product
	People          []Person
	Approvals       int
	SecurityContact string // mailto:… or https://…
	Expires         string // of security.txt; eleven months from Now when empty
	Salt            string // from Random when empty

	Policies fs.FS     // the *.cedar files at its root become policies/
	Now      time.Time // needed
	Random   io.Reader // crypto/rand when nil
}

// Init writes a first programme, with comments that explain each key, to the
// folder dir, which must be missing or empty (but for .git). It passes [Read].
// The JSON Schema goes to .schema/, where editors find it without a network.
func Init(dir string, a Answers) error {
	files, err := first(a)
	if err != nil {
		return fmt.Errorf("starting a programme: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("starting a programme: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("starting a programme: %w", err)
	}
	defer root.Close()
	there, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return fmt.Errorf("starting a programme: %w", err)
	}
	for _, e := range there {
		if e.Name() != ".git" {
			return fault.Conflict.New("starting a programme: the folder %s is not empty (%s): name another one", dir, plain(e.Name()))
		}
	}
	files = append(files, newFile(".schema/programme.schema.json", schema))
	for i, f := range files {
		if err := writeNew(root, f); err != nil {
			// leave an empty folder, so that the next attempt is not refused
			for _, written := range files[:i+1] {
				root.Remove(written.Path)
			}
			root.Remove("policies")
			root.Remove(".schema")
			return fmt.Errorf("starting a programme: writing %s: %w", f.Path, err)
		}
	}
	return nil
}

func writeNew(root *os.Root, f File) error {
	if err := root.MkdirAll(path.Dir(f.Path), 0o755); err != nil {
		return err
	}
	out, err := root.OpenFile(f.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = out.Write(f.Content)
	return errors.Join(err, out.Close())
}

// first renders the files and reads them as [Read] would, so that a wrong answer
// is refused before anything is written.
func first(a Answers) ([]File, error) {
	if err := a.fill(); err != nil {
		return nil, err
	}
	var files []File
	for _, name := range []string{Main, "about.md", "README.md"} {
		t, err := template.New(name+".tmpl").Funcs(template.FuncMap{"q": quote, "list": quoteAll}).ParseFS(templates, "templates/"+name+".tmpl")
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		if err := t.Execute(&b, a); err != nil {
			return nil, err
		}
		files = append(files, newFile(name, b.Bytes()))
	}
	policies, err := policyFiles(a.Policies)
	if err != nil {
		return nil, err
	}
	files = append(files, policies...)
	byPath(files)
	r := &reader{}
	for _, f := range files {
		r.checkText(f)
	}
	p := r.assemble(files)
	if _, err := checked(p, r.sorted()); err != nil {
		return nil, err
	}
	return files, p.CheckAt(a.Now)
}

func policyFiles(from fs.FS) ([]File, error) {
	if from == nil {
		return nil, nil
	}
	names, err := fs.Glob(from, "*.cedar")
	if err != nil {
		return nil, err
	}
	var files []File
	for _, name := range names {
		content, err := fs.ReadFile(from, name)
		if err != nil {
			return nil, err
		}
		files = append(files, newFile("policies/"+name, content))
	}
	return files, nil
}

func (a *Answers) fill() error {
	set := func(s *string, to string) {
		if *s == "" {
			*s = to
		}
	}
	set(&a.Vendor.ID, "example")
	set(&a.Vendor.Name, a.Vendor.ID)
	set(&a.Vendor.URL, "https://"+a.Vendor.ID+".example")
	set(&a.Vendor.Contact, "mailto:transparency@"+a.Vendor.ID+".example")
	set(&a.SecurityContact, "mailto:security@"+a.Vendor.ID+".example")
	set(&a.Log.Origin, a.Vendor.ID+".example/log")
	set(&a.Log.URL, "https://"+a.Log.Origin)
	set(&a.Product.ID, "product")
	set(&a.Product.Name, a.Product.ID)
	set(&a.Product.Description, "What it does, in a sentence.")
	set(&a.Product.Repository, a.Vendor.URL+"/"+a.Product.ID+".git")
	if a.Product.Channels == nil {
		a.Product.Channels = []string{"stable", "beta"}
	}
	if a.People == nil {
		a.People = []Person{
			{ID: "admin-1", Roles: []string{Admin}}, {ID: "approver-1", Roles: []string{Approver}}, {ID: "approver-2", Roles: []string{Approver}},
			{ID: "engineer-1", Roles: []string{ReleaseEngineer}}, {ID: "auditor-1", Roles: []string{Auditor}},
		}
	}
	if a.Approvals == 0 {
		a.Approvals = 2
	}
	set(&a.Expires, a.Now.UTC().AddDate(0, 11, 0).Truncate(24*time.Hour).Format("2006-01-02T15:04:05Z"))
	if a.Salt == "" {
		random := a.Random
		if random == nil {
			random = rand.Reader
		}
		raw := make([]byte, 24)
		if _, err := io.ReadFull(random, raw); err != nil {
			return fmt.Errorf("making a salt: %w", err)
		}
		a.Salt = base64.RawURLEncoding.EncodeToString(raw)
	}
	return nil
}

// quote writes a JSON string, which YAML reads as a double-quoted one.
func quote(s string) (string, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(s)
	return strings.TrimSuffix(b.String(), "\n"), err
}

func quoteAll(all []string) (string, error) {
	quoted := make([]string, len(all))
	for i, s := range all {
		var err error
		if quoted[i], err = quote(s); err != nil {
			return "", err
		}
	}
	return "[" + strings.Join(quoted, ", ") + "]", nil
}
