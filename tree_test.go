// Package clerestory_test holds the law of the house against the code: what a
// folder may import, what a page says of the folders, and how files are named.
//
// It promises that a change which breaks the law in docs or code fails here, with
// the file and the reason. It compiles nothing: it reads import lines, so that
// files for other systems (the WebAssembly verifier) count as well.
//
// Start at [TestAStoreyImportsOnlyEarlierStoreys]; the exceptions are in edges.
package clerestory_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "clerestory.dev/clerestory"

// edges are the only imports between neighbours of one storey, and between the
// portal's rooms. "*" is every neighbour: fault and crash know nothing at all.
var edges = map[string][]string{
	"internal/base/*":                  {"internal/base/atomicfile", "internal/base/fault", "internal/base/crash"},
	"internal/base/engine":             {"internal/base/sandbox"},
	"internal/base/programme":          {"internal/base/store"},
	"internal/gate/door":               {"internal/gate/policy", "internal/gate/audit", "internal/gate/passkey"},
	"internal/ledger/log":              {"internal/ledger/tile"},
	"internal/ledger/logread":          {"internal/ledger/tile"},
	"internal/ledger/repository":       {"internal/ledger/keyring", "internal/ledger/signing"},
	"internal/window/portal/*":         {"internal/window/portal/frame"},
	"internal/window/portal/advisory":  {"internal/window/portal/record"},
	"internal/window/portal/ledger":    {"internal/window/portal/record"},
	"internal/window/portal/detection": {"internal/window/portal/record"},
	"internal/window/portal/release":   {"internal/window/portal/record", "internal/window/portal/detection"},
}

// testEdges are the further ones that tests may use.
var testEdges = map[string][]string{
	"internal/ledger/log": {"internal/ledger/logread"}, // what a killed writer left is judged by the stranger's reader
}

// public are the packages that strangers import, with the ones of ours that they
// may import; a public package imports nothing of internal/, its tests neither.
var public = map[string][]string{
	"statement":         nil,
	"verify":            {"statement"},
	"update":            {"statement", "verify"},
	"verify/verifytest": {"statement", "verify"},
}

// source is one Go file: where it is and which of our packages it imports.
type source struct {
	path, folder string
	test         bool
	generated    bool
	lines        int
	pkg          string
	doc          string
	imports      []string // of this module, without its path
}

// sources reads every Go file of this module; nested modules and testdata are
// no part of it.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	walk(t, func(name string, d fs.DirEntry) {
		if d.IsDir() || path.Ext(name) != ".go" {
			return
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, b, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		s := source{path: name, folder: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), generated: ast.IsGenerated(f),
			lines: bytes.Count(b, []byte("\n")), pkg: f.Name.Name, doc: strings.TrimSpace(f.Doc.Text())}
		for _, i := range f.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if rest, ok := strings.CutPrefix(p, module+"/"); ok {
				s.imports = append(s.imports, rest)
			}
		}
		all = append(all, s)
	})
	if len(all) < 50 {
		t.Fatalf("only %d Go files were found: this test must run in the repository's root", len(all))
	}
	return all
}

// walk visits the files of this module in the checkout, without what tools leave
// there: hidden folders, node_modules, and the folders that .gitignore names.
func walk(t *testing.T, visit func(name string, d fs.DirEntry)) {
	t.Helper()
	ignored := map[string]bool{} // by path
	text, err := os.ReadFile(".gitignore")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if rest, ok := strings.CutPrefix(strings.TrimSuffix(line, "/"), "/"); ok {
			ignored[rest] = true
		}
	}
	err = fs.WalkDir(os.DirFS("."), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules" || d.Name() == "testdata" || ignored[name] || exists(name+"/go.mod")) {
			return fs.SkipDir
		}
		visit(name, d)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func exists(name string) bool {
	_, err := os.Lstat(filepath.FromSlash(name))
	return err == nil
}

// storey and room of a folder: "ledger", "internal/ledger/log". What lies deeper
// belongs to its room; in the portal each page's folder is a room.
func place(folder string) (storey, room string) {
	parts := strings.Split(folder, "/")
	if parts[0] != "internal" || len(parts) < 3 {
		return "", ""
	}
	depth := 3
	if strings.HasPrefix(folder, "internal/window/portal/") {
		depth = 4
	}
	return parts[1], strings.Join(parts[:min(depth, len(parts))], "/")
}

func TestAStoreyImportsOnlyEarlierStoreys(t *testing.T) {
	for _, s := range sources(t) {
		storey, _ := place(s.folder)
		for _, i := range s.imports {
			above, _ := place(i)
			if storey != "" && above > storey {
				t.Errorf("%s is in storey %s and imports %s: a storey imports only those that sort before it", s.path, storey, i)
			}
			if storey != "" && strings.HasPrefix(i, "cmd/") {
				t.Errorf("%s imports the program %s", s.path, i)
			}
		}
	}
}

func TestNeighboursDoNotImportEachOther(t *testing.T) {
	used := map[string]bool{}
	for _, s := range sources(t) {
		storey, room := place(s.folder)
		for _, i := range s.imports {
			theirs, neighbour := place(i)
			if storey == "" || theirs != storey || neighbour == room || strings.HasPrefix(neighbour, room+"/") {
				continue
			}
			edge := slices.IndexFunc([]string{room, path.Dir(room) + "/*"}, func(from string) bool {
				ok := slices.Contains(edges[from], neighbour) || s.test && slices.Contains(testEdges[from], neighbour)
				used[from+" -> "+neighbour] = used[from+" -> "+neighbour] || ok
				return ok
			})
			if edge < 0 {
				t.Errorf("%s imports its neighbour %s: let the one that needs declare an interface, or argue for a line in edges", s.path, i)
			}
		}
	}
	for from, all := range edges {
		for _, to := range append(all, testEdges[from]...) {
			if !used[from+" -> "+to] {
				t.Errorf("the table allows %s -> %s, but nothing imports it: remove the line", from, to)
			}
		}
	}
}

func TestPublicPackagesNeedNothingOfInternal(t *testing.T) {
	for _, s := range sources(t) {
		may, ok := public[s.folder]
		if !ok {
			continue
		}
		for _, i := range s.imports {
			if strings.HasPrefix(i, "internal/") {
				t.Errorf("%s is public and imports %s", s.path, i)
			}
			if !s.test && !slices.Contains(may, i) {
				t.Errorf("%s imports %s: package %s may import %v of ours", s.path, i, s.folder, may)
			}
		}
	}
	for folder := range public {
		if !exists(folder) {
			t.Errorf("the public package %s is not there", folder)
		}
	}
}

func TestEveryPackageSaysWhatItPromises(t *testing.T) {
	docs, lines := map[string]string{}, map[string]int{}
	for _, s := range sources(t) {
		if s.test || s.generated {
			continue
		}
		if _, ok := docs[s.folder]; !ok {
			docs[s.folder] = ""
		}
		if s.doc != "" {
			if docs[s.folder] != "" {
				t.Errorf("%s has a second package comment; the first is in %s", s.path, docs[s.folder])
			}
			docs[s.folder], lines[s.folder] = s.path, strings.Count(s.doc, "\n")+1
		}
		need := 5
		if s.pkg == "main" || strings.Contains(s.folder, "/generate/") { // programs, and the tools of go generate
			need = 1
		}
		if s.doc != "" && lines[s.folder] < need {
			t.Errorf("%s: the package comment has %d lines; say in 5 to 20 what it promises, what it refuses, where to start", s.path, lines[s.folder])
		}
	}
	for _, folder := range slices.Sorted(maps.Keys(docs)) {
		if docs[folder] == "" {
			t.Errorf("package %s has no package comment", folder)
		}
	}
}

func TestFilesStayReadable(t *testing.T) {
	for _, s := range sources(t) {
		if !s.test && !s.generated && s.lines > 450 {
			t.Errorf("%s has %d lines: split it by step (about 400 is the aim)", s.path, s.lines)
		}
	}
}

// vague are names that say nothing about what is inside, and attract everything.
var vague = regexp.MustCompile(`^(utils?|commons?|helpers?|managers?|types|misc|models?|mocks?)(_test)?$`)

func TestNoNameIsADrawer(t *testing.T) {
	walk(t, func(name string, d fs.DirEntry) {
		base, _, _ := strings.Cut(d.Name(), ".")
		if vague.MatchString(strings.ToLower(base)) {
			t.Errorf("%s: name it after what is in it", name)
		}
	})
}
