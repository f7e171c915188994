package clerestory_test

import (
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// drawn reads the folders of ARCHITECTURE.md's tree: two spaces a level, each
// with words that say what it is for.
func drawn(t *testing.T) map[string]bool {
	t.Helper()
	b, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), "## The tree\n```\n")
	text, _, closed := strings.Cut(rest, "\n```\n")
	if !ok || !closed {
		t.Fatal("ARCHITECTURE.md has no tree under \"## The tree\"")
	}
	folders, above := map[string]bool{}, []string{}
	for line := range strings.SplitSeq(text, "\n") {
		name, why, _ := strings.Cut(strings.TrimLeft(line, " "), "/")
		depth := (len(line) - len(strings.TrimLeft(line, " "))) / 2
		if depth > len(above) {
			t.Fatalf("ARCHITECTURE.md: %q stands too far in", line)
		}
		if above = append(above[:depth], name); strings.TrimSpace(why) == "" && depth > 1 {
			t.Errorf("ARCHITECTURE.md says nothing about %s/", name)
		}
		folders[path.Join(above...)] = true
	}
	return folders
}

// listed are the folders that a tree of one page shows: rooms and what is above
// them; what lies in a room is the room's own business.
func listed(folder string) bool {
	depth := strings.Count(folder, "/") + 1
	switch first, _, _ := strings.Cut(folder, "/"); {
	case strings.HasPrefix(folder, "internal/window/portal/"):
		return depth <= 4
	case first == "internal":
		return depth <= 3
	case first == "cmd" || first == "docs" || first == "verify":
		return depth <= 2
	default:
		return depth == 1
	}
}

func TestTheArchitecturePageShowsTheFoldersThatThereAre(t *testing.T) {
	there := map[string]bool{}
	walk(t, func(name string, d fs.DirEntry) {
		if d.IsDir() { // an empty folder is not in git
			return
		}
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if listed(dir) {
				there[dir] = true
			}
		}
	})
	page := drawn(t)
	for _, folder := range slices.Sorted(maps.Keys(there)) {
		if !page[folder] {
			t.Errorf("ARCHITECTURE.md does not show %s/", folder)
		}
	}
	for _, folder := range slices.Sorted(maps.Keys(page)) {
		if !there[folder] {
			t.Errorf("ARCHITECTURE.md shows %s/, which is not there", folder)
		}
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#{1,6} (.+)$`)
	anchor  = regexp.MustCompile(`<a (?:id|name)="([^"]+)">`)
	fence   = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	notSlug = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

func TestLinksBetweenPagesLeadSomewhere(t *testing.T) {
	pages := map[string]string{}
	walk(t, func(name string, d fs.DirEntry) {
		if d.IsDir() || path.Ext(name) != ".md" {
			return
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		pages[name] = fence.ReplaceAllString(string(b), "")
	})
	for name, text := range pages {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			u, err := url.Parse(m[1])
			if err != nil {
				t.Errorf("%s: the link %s is broken: %v", name, m[1], err)
				continue
			}
			if u.Scheme != "" {
				continue // elsewhere: not looked at, so that the test needs no network
			}
			to := name
			if u.Path != "" {
				to = path.Join(path.Dir(name), u.Path)
			}
			if !exists(to) {
				t.Errorf("%s: the link %s leads to %s, which is not there", name, m[1], to)
			} else if u.Fragment != "" && !slices.Contains(slugs(pages[to]), u.Fragment) {
				t.Errorf("%s: the link %s names a section that %s has not", name, m[1], to)
			}
		}
	}
}

// slugs are the anchors of a page's headings, as GitHub makes them.
func slugs(text string) []string {
	var all []string
	for _, m := range anchor.FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		all = append(all, strings.ReplaceAll(notSlug.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return all
}
