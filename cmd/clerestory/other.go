package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"clerestory.dev/clerestory/internal/base/fault"
)

type versionCmd struct {
	JSON bool `help:"Print JSON."`
}

// Run prints what the linker wrote into the program, and nothing that could
// differ between two builds of the same source.
func (c *versionCmd) Run(t *terminal) error {
	settings := map[string]string{}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			settings[s.Key] = s.Value
		}
	}
	if c.JSON {
		return t.json(map[string]any{
			"version": version(), "commit": settings["vcs.revision"], "modified": settings["vcs.modified"] == "true",
			"go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH, "cgo": settings["CGO_ENABLED"] == "1",
		})
	}
	t.printf("clerestory %s (%s, %s/%s)\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}

// command is a command as manual and completions need it.
type command struct {
	path    []string // below clerestory; empty for the program itself
	node    *kong.Node
	summary string
	detail  string
}

func (c command) name() string { return strings.Join(append([]string{"clerestory"}, c.path...), " ") }

// commands walks the model: the program first, each command before its own
// subcommands. Hidden ones are left out.
func commands(model *kong.Application) []command {
	all := []command{{nil, model.Node, model.Help, ""}}
	var walk func(n *kong.Node, path []string)
	walk = func(n *kong.Node, path []string) {
		for _, child := range n.Children {
			if child.Hidden || child.Type != kong.CommandNode {
				continue
			}
			p := append(slices.Clone(path), child.Name)
			all = append(all, command{p, child, child.Help, child.Detail})
			walk(child, p)
		}
	}
	walk(model.Node, nil)
	return all
}

// children are the names of the subcommands.
func (c command) children() []*kong.Node {
	var all []*kong.Node
	for _, n := range c.node.Children {
		if !n.Hidden && n.Type == kong.CommandNode {
			all = append(all, n)
		}
	}
	return all
}

// flags are a command's own flags and those of the commands above it.
func (c command) flags() []*kong.Flag {
	var all []*kong.Flag
	for n := c.node; n != nil; n = n.Parent {
		for _, f := range n.Flags {
			if !f.Hidden {
				all = append(all, f)
			}
		}
	}
	return all
}

func choices(f *kong.Flag) []string {
	if f.Enum == "" {
		return nil
	}
	return slices.DeleteFunc(f.EnumSlice(), func(s string) bool { return s == "" })
}

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"The shell: bash, zsh or fish."`
}

func (c *completionCmd) Help() string {
	return "bash: clerestory completion bash > ~/.local/share/bash-completion/completions/clerestory\n" +
		"zsh: clerestory completion zsh > a folder of $fpath, as _clerestory\n" +
		"fish: clerestory completion fish > ~/.config/fish/completions/clerestory.fish"
}

// Run prints the script, made from the commands as they are.
func (c *completionCmd) Run(ctx *kong.Context, t *terminal) error {
	write := map[string]func(*strings.Builder, []command){"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[c.Shell]
	var b strings.Builder
	write(&b, commands(ctx.Model))
	t.printf("%s", b.String())
	return nil
}

type manCmd struct {
	Out string `type:"path" help:"Folder to write one page per command to (default: all on one page, to standard output)."`
}

// Run writes manual pages in roff.
func (c *manCmd) Run(ctx *kong.Context, t *terminal) error {
	all := commands(ctx.Model)
	if c.Out == "" {
		t.printf("%s", manPage(all))
		return nil
	}
	if err := os.MkdirAll(c.Out, 0o755); err != nil {
		return fault.Unavailable.New("writing the manual: %w", err)
	}
	for _, cmd := range all {
		name := strings.Join(append([]string{"clerestory"}, cmd.path...), "-") + ".1"
		if err := os.WriteFile(filepath.Join(c.Out, name), []byte(manPage([]command{cmd})), 0o644); err != nil {
			return fault.Unavailable.New("writing the manual: %w", err)
		}
	}
	t.printf("%d pages in %s\n", len(all), line(c.Out))
	return nil
}

// manPage is a page on the first command, with a section for each further one.
func manPage(all []command) string {
	var b strings.Builder
	head := all[0]
	title := strings.ReplaceAll(head.name(), " ", "-")
	fmt.Fprintf(&b, ".TH %s 1 \"\" %s \"Clerestory manual\"\n", roff(strings.ToUpper(title)), roff("clerestory "+version()))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(title), roff(strings.TrimSuffix(head.summary, ".")))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", roff(synopsis(head)))
	manBody(&b, head, ".SH OPTIONS")
	if kids := head.children(); len(kids) > 0 {
		fmt.Fprintf(&b, ".SH COMMANDS\n")
		for _, n := range kids {
			fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(n.Name), roff(n.Help))
		}
	}
	for _, c := range all[1:] {
		fmt.Fprintf(&b, ".SH %s\n%s\n.PP\n.B %s\n", roff(strings.ToUpper(strings.Join(c.path, " "))), roff(c.summary), roff(synopsis(c)))
		manBody(&b, c, "")
	}
	if len(head.path) == 0 {
		b.WriteString(".SH EXIT STATUS\n0 done, or verified; 1 definitely wrong: changed, revoked, forged; 2 wrong usage; 3 it could not be done or checked now.\n")
	}
	return b.String()
}

func manBody(b *strings.Builder, c command, heading string) {
	if c.detail != "" {
		fmt.Fprintf(b, ".PP\n%s\n", strings.ReplaceAll(roff(c.detail), "\n", "\n.br\n"))
	}
	flags := c.node.Flags
	if heading != "" && (len(flags) > 0 || len(c.node.Positional) > 0) {
		fmt.Fprintf(b, "%s\n", heading)
	}
	for _, p := range c.node.Positional {
		fmt.Fprintf(b, ".TP\n.I %s\n%s\n", roff(strings.ToUpper(p.Name)), roff(p.Help))
	}
	for _, f := range flags {
		if !f.Hidden {
			fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(f.String()), roff(f.Help))
		}
	}
}

func synopsis(c command) string {
	parts := []string{c.name()}
	for _, p := range c.node.Positional {
		parts = append(parts, p.Summary())
	}
	if len(c.children()) > 0 {
		parts = append(parts, "<command>")
	}
	return strings.Join(append(parts, "[flags]"), " ")
}

// roff makes text of any kind safe for the formatter: no line is a request.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}
