package release

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
)

//go:embed evidence.html.tmpl
var evidencePage embed.FS

// Write puts evidence into a folder that is new or empty: index.html, the
// population as CSV and JSON, the sample, and SHA256SUMS over all of it.
func (e *Evidence) Write(dir string) error {
	if there, err := os.ReadDir(dir); err == nil && len(there) > 0 {
		return fault.Conflict.New("writing evidence: the folder %s is not empty: name another one", dir)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.Unavailable.New("writing evidence: %w", err)
	}
	files, err := e.all()
	if err != nil {
		return fmt.Errorf("writing evidence: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fault.Unavailable.New("writing evidence: %w", err)
	}
	root, err := os.OpenRoot(dir) // no name of a product or file leads out of it
	if err != nil {
		return fault.Unavailable.New("writing evidence: %w", err)
	}
	defer root.Close()
	for name, content := range files {
		if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
			return fault.Unavailable.New("writing evidence: %w", err)
		}
		if err := root.WriteFile(name, content, 0o644); err != nil {
			return fault.Unavailable.New("writing evidence: %w", err)
		}
	}
	return nil
}

// all are the files of the folder, by name.
func (e *Evidence) all() (map[string][]byte, error) {
	files := map[string][]byte{}
	for name, content := range e.files {
		files[name] = content
	}
	files["population/releases.csv"] = e.releasesCSV()
	files["population/changes.csv"] = e.changesCSV()
	files["population/steps.csv"] = e.stepsCSV()
	for name, list := range map[string]any{"releases": orEmpty(e.Releases), "changes": orEmpty(e.Changes), "steps": orEmpty(e.Steps)} {
		b, err := json.MarshalIndent(list, "", "  ")
		if err != nil {
			return nil, fmt.Errorf("encoding the population: %w", err)
		}
		files["population/"+name+".json"] = b
	}
	page, err := e.HTML()
	if err != nil {
		return nil, err
	}
	files["index.html"] = page
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	var sums bytes.Buffer
	for _, name := range names {
		sum := sha256.Sum256(files[name])
		fmt.Fprintf(&sums, "%s  %s\n", hex.EncodeToString(sum[:]), name)
	}
	files["SHA256SUMS"] = sums.Bytes()
	return files, nil
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// HTML is the evidence as one page, which needs nothing else and runs nothing.
func (e *Evidence) HTML() ([]byte, error) {
	t, err := template.New("evidence.html.tmpl").Funcs(template.FuncMap{
		"when":  func(t time.Time) string { return stampOr(t, "") },
		"short": func(s string) string { return s[:min(16, len(s))] },
		"join":  func(list []string) string { return strings.Join(list, ", ") },
	}).ParseFS(evidencePage, "evidence.html.tmpl")
	if err != nil {
		return nil, fmt.Errorf("reading the evidence's template: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, e); err != nil {
		return nil, fmt.Errorf("writing the evidence's page: %w", err)
	}
	return b.Bytes(), nil
}

// Emergencies counts the emergencies of the period.
func (e *Evidence) Emergencies() int {
	n := 0
	for _, r := range e.Releases {
		if r.Emergency {
			n++
		}
	}
	return n
}

func stampOr(t time.Time, otherwise string) string {
	if t.IsZero() {
		return otherwise
	}
	return t.UTC().Format(time.RFC3339)
}

func (e *Evidence) releasesCSV() []byte {
	rows := [][]string{{"product", "version", "channel", "state", "emergency", "proposed by", "proposed at", "said at", "entry", "revoked by entry", "approvals", "sha256 of the statement"}}
	for _, r := range e.Releases {
		rows = append(rows, []string{r.Product, r.Version, r.Channel, string(r.State), strconv.FormatBool(r.Emergency), r.ProposedBy, stampOr(r.ProposedAt, ""), stampOr(r.SaidAt, ""),
			number(r.Entry), number(r.RevokedBy), strconv.Itoa(r.Approvals), r.PayloadHash})
	}
	return table(rows)
}

func (e *Evidence) changesCSV() []byte {
	rows := [][]string{{"entry", "at", "kind", "about", "sha256", "signers"}}
	for _, c := range e.Changes {
		rows = append(rows, []string{number(c.Entry), stampOr(c.At, ""), c.Kind, c.About, c.SHA256, c.Signers})
	}
	return table(rows)
}

func (e *Evidence) stepsCSV() []byte {
	rows := [][]string{{"product", "version", "from", "to", "by", "at", "why"}}
	for _, s := range e.Steps {
		rows = append(rows, []string{s.Product, s.Version, string(s.From), string(s.To), s.By, stampOr(s.At, ""), s.Why})
	}
	return table(rows)
}

func number(n int64) string {
	if n < 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// table writes CSV. A cell that a spreadsheet would take for a formula gets a
// quote before it: what stands in a release may come from anybody.
func table(rows [][]string) []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	for _, row := range rows {
		for i, cell := range row {
			if cell != "" && strings.ContainsRune("=+-@\t\r\n", rune(cell[0])) {
				row[i] = "'" + cell
			}
		}
		w.Write(row) // a bytes.Buffer takes everything
	}
	w.Flush()
	return b.Bytes()
}
