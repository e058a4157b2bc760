package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

//go:generate sh -c "go run . reference > ../../docs/CLI.md"

func newReference() *cobra.Command {
	return &cobra.Command{
		Use:    "reference",
		Short:  "Print docs/CLI.md",
		Hidden: true,
		Args:   cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			root := cmd.Root()
			root.InitDefaultCompletionCmd()
			out := cmd.OutOrStdout()
			fmt.Fprintf(out, "# The command\n\n`make generate` makes this page from the command's help. `concord help COMMAND` prints the same.\n\n%s\n\n", block(root.Long))
			writeReference(out, root)
		},
	}
}

// writeReference writes what is below a command, each with all that is below it.
func writeReference(out io.Writer, parent *cobra.Command) {
	for _, cmd := range parent.Commands() {
		if cmd.Hidden || cmd.Name() == "help" {
			continue
		}
		text := strings.TrimSpace(cmd.Long)
		if text == "" {
			text = cmd.Short
		}
		fmt.Fprintf(out, "## %s\n\n%s.\n\n%s\n", cmd.CommandPath(), cmd.Short, block(strings.TrimSpace(cmd.UseLine()+"\n\n"+text)))
		if cmd.Example != "" {
			fmt.Fprintf(out, "\n%s\n", block(strings.TrimRight(cmd.Example, "\n")))
		}
		writeFlags(out, cmd)
		fmt.Fprintln(out)
		writeReference(out, cmd)
	}
}

func writeFlags(out io.Writer, cmd *cobra.Command) {
	first := true
	cmd.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		if first {
			fmt.Fprintf(out, "\n| flag | variable | default | |\n|---|---|---|---|\n")
			first = false
		}
		value := ""
		if d := f.DefValue; d != "" && d != "false" && d != "[]" {
			value = "`" + strings.Trim(d, "[]") + "`"
		}
		usage := strings.ReplaceAll(strings.Join(strings.Fields(f.Usage), " "), "|", `\|`)
		fmt.Fprintf(out, "| `--%s` | `%s` | %s | %s |\n", f.Name, environment(f.Name), value, usage)
	})
}

// block is text as it is.
func block(text string) string { return "```text\n" + text + "\n```" }
