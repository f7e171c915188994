package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"

	"golang.org/x/term"

	"clerestory.dev/clerestory/internal/base/fault"
)

// terminal is where a command reads and writes.
type terminal struct {
	in       io.Reader
	out, err io.Writer
}

// Colours, as SGR parameters.
const (
	bold  = "1"
	red   = "31"
	green = "32"
	amber = "33"
	dim   = "2"
)

// style colours text for people: only on a terminal, and not with NO_COLOR.
func (t *terminal) style(sgr, text string) string {
	f, ok := t.out.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" || !term.IsTerminal(int(f.Fd())) {
		return text
	}
	return "\x1b[" + sgr + "m" + text + "\x1b[0m"
}

func (t *terminal) printf(format string, args ...any) { fmt.Fprintf(t.out, format, args...) }

// note tells progress: on the error stream, so that the output can be piped.
func (t *terminal) note(format string, args ...any) { fmt.Fprintf(t.err, format+"\n", args...) }

func (t *terminal) json(v any) error {
	enc := json.NewEncoder(t.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// interactive tells whether a person can be asked.
func (t *terminal) interactive() bool {
	f, ok := t.in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// confirm asks a yes-or-no question; without a person to ask it refuses and
// names the flag that answers.
func (t *terminal) confirm(question, flag string) error {
	if !t.interactive() {
		return fault.Invalid.New("%s Answer with %s", question, flag)
	}
	fmt.Fprintf(t.err, "%s [y/N] ", question)
	line, err := bufio.NewReader(t.in).ReadString('\n')
	if err != nil || !strings.HasPrefix(strings.ToLower(strings.TrimSpace(line)), "y") {
		return fault.Denied.New("nothing was done")
	}
	return nil
}

// ask asks for a line of text, with a default.
func (t *terminal) ask(question, standard string) (string, error) {
	fmt.Fprintf(t.err, "%s [%s]: ", question, standard)
	line, err := readLine(t.in)
	if err != nil {
		return "", fault.Invalid.New("reading the answer: %w", err)
	}
	if line = strings.TrimSpace(line); line == "" {
		return standard, nil
	}
	return line, nil
}

// readLine reads a line byte by byte, so that nothing of the next one is lost.
func readLine(r io.Reader) (string, error) {
	var line []byte
	for b := make([]byte, 1); len(line) < 4096; {
		if _, err := r.Read(b); err != nil {
			return string(line), err
		}
		if b[0] == '\n' {
			break
		}
		line = append(line, b[0])
	}
	return string(line), nil
}

// passphrase reads the passphrase from the file that was named, else asks.
func (t *terminal) passphrase(file, what string) ([]byte, error) {
	if file != "" {
		return readPassphrase(file)
	}
	f, ok := t.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, fault.Invalid.New("the passphrase of %s is needed: name a file with --passphrase-file", what)
	}
	fmt.Fprintf(t.err, "Passphrase of %s: ", what)
	b, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(t.err)
	if err != nil {
		return nil, fault.Invalid.New("reading the passphrase: %w", err)
	}
	return b, nil
}

// readPassphrase reads a passphrase file: its text without the line's end.
func readPassphrase(file string) ([]byte, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.Invalid.New("reading the passphrase file: %w", err)
	}
	return []byte(strings.TrimRight(string(b), "\r\n")), nil
}

// plain makes text from outside safe to print: control characters, terminal
// escapes and bidirectional overrides become visible.
func plain(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n' || r == '\t':
			b.WriteRune(r)
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar:
			fmt.Fprintf(&b, "<U+%04X>", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// line is plain text on one line.
func line(s string) string { return strings.Join(strings.Fields(plain(s)), " ") }
