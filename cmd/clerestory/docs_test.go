package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// shell are the blocks of a page that a reader copies into a shell: fenced as sh,
// or indented.
var shell = regexp.MustCompile("(?ms)^ *```sh\n(.*?)^ *```$|(?:^    [^\n]*\n)+")

// TestThePagesNameCommandsThatThereAre parses every clerestory command line of
// README and guides as the program would, without running it.
func TestThePagesNameCommandsThatThereAre(t *testing.T) {
	pages, err := filepath.Glob("../../docs/guide/*.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, page := range append(pages, "../../README.md", "../../CONTRIBUTING.md") {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, block := range shell.FindAllString(strings.ReplaceAll(string(b), "\\\n", " "), -1) {
			lines = append(lines, strings.Split(block, "\n")...)
		}
		for _, line := range lines {
			args, ok := called(words(line))
			if !ok {
				continue
			}
			seen++
			t.Run(filepath.Base(page), func(t *testing.T) {
				if err := parses(t, args); err != nil {
					t.Errorf("%s\n\t%v", strings.TrimSpace(line), err)
				}
			})
		}
	}
	if seen < 20 {
		t.Errorf("only %d commands were found: are the blocks fenced as sh?", seen)
	}
}

// called are the arguments of a line that runs clerestory.
func called(words []string) ([]string, bool) {
	for len(words) > 0 && (words[0] == "sudo" || words[0] == "go" || words[0] == "run" || strings.Contains(words[0], "=")) {
		words = words[1:]
	}
	if len(words) == 0 || words[0] != "clerestory" && words[0] != "./cmd/clerestory" {
		return nil, false
	}
	return words[1:], true
}

// parses reads a command line in a folder where every file that it names exists.
func parses(t *testing.T, args []string) error {
	t.Chdir(t.TempDir())
	for _, a := range args {
		if _, value, ok := strings.Cut(a, "="); ok {
			a = value
		}
		if a != "." && filepath.IsLocal(a) && filepath.Ext(a) != "" || strings.HasPrefix(a, "dist/") {
			if err := errors.Join(os.MkdirAll(filepath.Dir(a), 0o700), os.WriteFile(a, nil, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
	}
	help := false
	parser, err := kong.New(&cli{}, kong.Name("clerestory"), kong.Vars{"trust": "trusted_root.json"}, kong.Writers(io.Discard, io.Discard), kong.Exit(func(int) { help = true }))
	if err != nil {
		t.Fatal(err)
	}
	if _, err = parser.Parse(args); help {
		return nil
	}
	return err
}

// words splits a line as a shell would, as far as the pages need it: quotes, and
// an end at a pipe, a redirection, a chain or a comment.
func words(line string) []string {
	var all []string
	for _, m := range regexp.MustCompile(`(?:'[^']*'|"[^"]*"|[^\s'"])+`).FindAllString(line, -1) {
		if strings.HasPrefix(m, "#") || m == "|" || m == "&&" || m == ";" || m == "&" || strings.HasPrefix(m, ">") {
			break
		}
		all = append(all, strings.NewReplacer("'", "", `"`, "").Replace(m))
	}
	return all
}
