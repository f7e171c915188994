package main

import (
	"io"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// TestEverythingIsExplained: every command, flag and argument has a text, and
// every command's help page can be shown.
func TestEverythingIsExplained(t *testing.T) {
	var c cli
	parser, err := kong.New(&c, kong.Vars{"trust": defaultTrust()})
	if err != nil {
		t.Fatal(err)
	}
	for _, cmd := range commands(parser.Model) {
		if cmd.summary == "" && len(cmd.path) > 0 {
			t.Errorf("%s has no help", cmd.name())
		}
		for _, p := range cmd.node.Positional {
			if p.Help == "" {
				t.Errorf("%s: argument %s has no help", cmd.name(), p.Name)
			}
		}
		for _, f := range cmd.node.Flags {
			if f.Help == "" {
				t.Errorf("%s: --%s has no help", cmd.name(), f.Name)
			}
		}
		var out strings.Builder
		if code := run(append(cmd.path, "--help"), strings.NewReader(""), &out, io.Discard); code != 0 || !strings.Contains(out.String(), "Usage: "+cmd.name()) {
			t.Errorf("%s --help: exit code %d, %q", cmd.name(), code, out.String())
		}
	}
}

// TestManualIsNotFooledByText: no text in a page is a request to the formatter.
func TestManualIsNotFooledByText(t *testing.T) {
	got := roff(".so /etc/passwd\n'x \\n(.f -")
	if got != "\\&.so /etc/passwd\n\\&'x \\en(.f \\-" {
		t.Errorf("roff = %q", got)
	}
}
