package advisory

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"slices"
	"strconv"
	"strings"
	"time"

	"clerestory.dev/clerestory/internal/base/fault"
)

// Folder is where the provider's files are, below the portal's address (CSAF 2.0,
// section 7.1.9).
const Folder = "/.well-known/csaf/"

// ProviderFile is one file of the provider's folder.
type ProviderFile struct {
	Type    string
	Content []byte
}

// File gives a file of the folder by its path below it; one that ends with a slash
// is a listing. The newest version of each advisory stands there; older ones are on
// the portal's pages.
func (s *Service) File(ctx context.Context, path string) (*ProviderFile, error) {
	all, err := s.List(ctx)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(a *Advisory) bool { return a.Raw == nil })
	switch path {
	case "provider-metadata.json":
		return s.metadata(ctx, all)
	case "white/index.txt":
		return index(all), nil
	case "white/changes.csv":
		return changes(all)
	}
	if path == "" || strings.HasSuffix(path, "/") {
		return listing(path, all)
	}
	for _, a := range all {
		rest, ok := strings.CutPrefix(path, "white/"+a.path())
		if !ok {
			continue
		}
		switch rest {
		case "":
			return &ProviderFile{"application/json", a.Raw}, nil
		case ".sha256":
			sum := sha256.Sum256(a.Raw)
			return sumFile(sum[:], a), nil
		case ".sha512":
			sum := sha512.Sum512(a.Raw)
			return sumFile(sum[:], a), nil
		}
	}
	return nil, fault.NotFound.New("there is no such file among the advisories")
}

// path is where the document lies below white/.
func (a *Advisory) path() string { return strconv.Itoa(a.Year) + "/" + a.Slug + ".json" }

// Path is the document's address below the portal's.
func (a *Advisory) Path() string { return Folder + "white/" + a.path() }

func sumFile(sum []byte, a *Advisory) *ProviderFile {
	return &ProviderFile{"text/plain; charset=utf-8", []byte(hex.EncodeToString(sum) + "  " + a.Slug + ".json\n")}
}

type object = map[string]any

func jsonFile(v any) (*ProviderFile, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("writing a file of the advisories: %w", err)
	}
	return &ProviderFile{"application/json", b.Bytes()}, nil
}

// metadata is provider-metadata.json. The role is provider: a trusted one also
// signs with OpenPGP, and here the log's proofs take that place.
func (s *Service) metadata(ctx context.Context, all []*Advisory) (*ProviderFile, error) {
	p, err := s.Programme(ctx)
	if err != nil {
		return nil, err
	}
	base := s.URL + Folder
	return jsonFile(object{
		"canonical_url":              base + "provider-metadata.json",
		"distributions":              []any{object{"directory_url": base + "white"}},
		"last_updated":               stamp(s.updated(all)),
		"list_on_CSAF_aggregators":   true,
		"mirror_on_CSAF_aggregators": true,
		"metadata_version":           "2.0",
		"publisher":                  object{"category": "vendor", "name": p.Vendor.Name, "namespace": p.Vendor.URL},
		"role":                       "csaf_provider",
	})
}

// updated is when the folder last changed.
func (s *Service) updated(all []*Advisory) time.Time {
	var last time.Time
	for _, a := range all {
		if a.PublishedAt.After(last) {
			last = a.PublishedAt
		}
	}
	if last.IsZero() {
		return s.Now().UTC().Truncate(24 * time.Hour)
	}
	return last
}

// index is index.txt: every document, one a line (section 7.1.12).
func index(all []*Advisory) *ProviderFile {
	var lines []string
	for _, a := range all {
		lines = append(lines, a.path()+"\n")
	}
	slices.Sort(lines)
	return &ProviderFile{"text/plain; charset=utf-8", []byte(strings.Join(lines, ""))}
}

// changes is changes.csv: when each document last changed, the latest first
// (section 7.1.13).
func changes(all []*Advisory) (*ProviderFile, error) {
	var b bytes.Buffer
	out := csv.NewWriter(&b)
	for _, a := range all {
		if err := out.Write([]string{a.path(), stamp(a.ReleasedAt)}); err != nil {
			return nil, fmt.Errorf("writing changes.csv: %w", err)
		}
	}
	out.Flush()
	return &ProviderFile{"text/csv; charset=utf-8", b.Bytes()}, out.Error()
}

// listing is a folder as a page of links (section 7.1.14). It has no style and no
// script: it is for programs that walk folders, and for who is curious.
func listing(path string, all []*Advisory) (*ProviderFile, error) {
	var names []string
	add := func(file string) {
		rest, ok := strings.CutPrefix(file, path)
		if !ok {
			return
		}
		if dir, _, deeper := strings.Cut(rest, "/"); deeper {
			rest = dir + "/"
		}
		if rest != "" && !slices.Contains(names, rest) {
			names = append(names, rest)
		}
	}
	for _, file := range []string{"provider-metadata.json", "white/index.txt", "white/changes.csv"} {
		add(file)
	}
	for _, a := range all {
		for _, suffix := range []string{"", ".sha256", ".sha512"} {
			add("white/" + a.path() + suffix)
		}
	}
	if len(names) == 0 {
		return nil, fault.NotFound.New("there is no such folder among the advisories")
	}
	slices.Sort(names)
	var b strings.Builder
	title := html.EscapeString(Folder + path)
	b.WriteString("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>" + title + "</title></head><body><h1>" + title + "</h1><ul>\n")
	for _, n := range names {
		n = html.EscapeString(n)
		b.WriteString("<li><a href=\"" + n + "\">" + n + "</a></li>\n")
	}
	b.WriteString("</ul></body></html>\n")
	return &ProviderFile{"text/html; charset=utf-8", []byte(b.String())}, nil
}
