package main

import (
	"fmt"
	"strings"
)

// The three scripts do the same: walk the words to find the command, then offer
// its subcommands, its flags, the values of a flag that has a few, or files.

func bashCompletion(b *strings.Builder, all []command) {
	b.WriteString("# bash completion for clerestory\n_clerestory() {\n\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} at=clerestory i words=\"\" flags=\"\"\n")
	b.WriteString("\tfor ((i = 1; i < COMP_CWORD; i++)); do\n\t\tcase \"$at ${COMP_WORDS[i]}\" in\n" + walkCases(all, "${COMP_WORDS[i]}") + "\t\tesac\n\tdone\n")
	b.WriteString("\tcase \"$at $prev\" in\n")
	for _, c := range all {
		for _, f := range c.flags() {
			if values := choices(f); len(values) > 0 {
				fmt.Fprintf(b, "\t%s) COMPREPLY=($(compgen -W %s -- \"$cur\")); return ;;\n", quoted(c.name()+" --"+f.Name), quoted(strings.Join(values, " ")))
			}
		}
	}
	b.WriteString("\tesac\n\tcase \"$at\" in\n")
	for _, c := range all {
		var words, flags []string
		for _, n := range c.children() {
			words = append(words, n.Name)
		}
		for _, f := range c.flags() {
			flags = append(flags, "--"+f.Name)
		}
		fmt.Fprintf(b, "\t%s) words=%s flags=%s ;;\n", quoted(c.name()), quoted(strings.Join(words, " ")), quoted(strings.Join(flags, " ")))
	}
	b.WriteString("\tesac\n\tif [[ $cur == -* ]]; then\n\t\tCOMPREPLY=($(compgen -W \"$flags\" -- \"$cur\"))\n\telif [[ -n $words ]]; then\n\t\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n\telse\n\t\tcompopt -o default 2>/dev/null\n\t\tCOMPREPLY=()\n\tfi\n}\ncomplete -F _clerestory clerestory\n")
}

func zshCompletion(b *strings.Builder, all []command) {
	b.WriteString("#compdef clerestory\n_clerestory() {\n\tlocal at=clerestory i\n\tlocal -a cmds flags\n")
	b.WriteString("\tfor ((i = 2; i < CURRENT; i++)); do\n\t\tcase \"$at ${words[i]}\" in\n" + walkCases(all, "${words[i]}") + "\t\tesac\n\tdone\n\tcase \"$at ${words[CURRENT-1]}\" in\n")
	for _, c := range all {
		for _, f := range c.flags() {
			if values := choices(f); len(values) > 0 {
				fmt.Fprintf(b, "\t%s) compadd -- %s; return ;;\n", quoted(c.name()+" --"+f.Name), strings.Join(values, " "))
			}
		}
	}
	b.WriteString("\tesac\n\tcase \"$at\" in\n")
	for _, c := range all {
		fmt.Fprintf(b, "\t%s)\n\t\tcmds=(", quoted(c.name()))
		for _, n := range c.children() {
			fmt.Fprintf(b, " %s", quoted(described(n.Name, n.Help)))
		}
		b.WriteString(" )\n\t\tflags=(")
		for _, f := range c.flags() {
			fmt.Fprintf(b, " %s", quoted(described("--"+f.Name, f.Help)))
		}
		b.WriteString(" ) ;;\n")
	}
	b.WriteString("\tesac\n\tif [[ $PREFIX == -* ]]; then\n\t\t_describe flag flags\n\telif (( ${#cmds} )); then\n\t\t_describe command cmds\n\telse\n\t\t_files\n\tfi\n}\ncompdef _clerestory clerestory\n")
}

func fishCompletion(b *strings.Builder, all []command) {
	b.WriteString("# fish completion for clerestory\nfunction __clerestory_at\n\tset -l at clerestory\n\tfor w in (commandline -opc)[2..-1]\n\t\tswitch \"$at $w\"\n")
	var paths []string
	for _, c := range all[1:] {
		paths = append(paths, quoted(c.name()))
	}
	fmt.Fprintf(b, "\t\t\tcase %s\n\t\t\t\tset at \"$at $w\"\n\t\tend\n\tend\n\ttest \"$at\" = \"$argv[1]\"\nend\n", strings.Join(paths, " "))
	for _, c := range all {
		when := fishQuoted("__clerestory_at \"" + c.name() + "\"")
		for _, n := range c.children() {
			fmt.Fprintf(b, "complete -c clerestory -f -n %s -a %s -d %s\n", when, n.Name, fishQuoted(n.Help))
		}
		for _, f := range c.flags() {
			fmt.Fprintf(b, "complete -c clerestory -n %s -l %s -d %s", when, f.Name, fishQuoted(f.Help))
			if f.Short != 0 {
				fmt.Fprintf(b, " -s %c", f.Short)
			}
			if values := choices(f); len(values) > 0 {
				fmt.Fprintf(b, " -x -a %s", quoted(strings.Join(values, " ")))
			} else if !f.IsBool() {
				b.WriteString(" -r")
			}
			b.WriteString("\n")
		}
	}
}

// walkCases steps down to the command that the words name; word is how the
// shell writes the word that is looked at.
func walkCases(all []command, word string) string {
	var paths []string
	for _, c := range all[1:] {
		paths = append(paths, quoted(c.name()))
	}
	return "\t\t" + strings.Join(paths, "|") + ") at=\"$at " + word + "\" ;;\n"
}

// quoted is one word for bash and zsh.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// described is an item of zsh's _describe.
func described(name, help string) string {
	return strings.ReplaceAll(name, ":", `\:`) + ":" + strings.ReplaceAll(help, "\n", " ")
}

// fishQuoted is one word for fish, which knows escapes within single quotes.
func fishQuoted(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`, "\n", " ").Replace(s) + "'"
}
