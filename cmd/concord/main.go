// Concord runs members of a ring, and shows what a ring does.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	cmd, err := newRoot().ExecuteContextC(ctx)
	stop()
	if err == nil {
		return
	}
	if !errors.Is(err, errTold) {
		signal.Ignore(syscall.SIGPIPE) // it fails with its own status also if nobody reads why
		asJSON := wantsJSON(cmd, os.Args[1:], os.LookupEnv)
		records := newJournal(os.Stderr, format(slog.LevelInfo, asJSON))
		records.fail(err, asJSON)
		records.flush()
	}
	os.Exit(1)
}

// wantsJSON reports whether a command that has not begun, since its flags are wrong,
// was to log as JSON. Only that of a member does; what the others print as JSON is
// their output.
func wantsJSON(cmd *cobra.Command, args []string, env func(string) (string, bool)) bool {
	if cmd.CommandPath() != "concord run" {
		return false
	}
	value, _ := env("CONCORD_JSON")
	for _, arg := range args {
		if name, given, ok := strings.Cut(arg, "="); name == "--json" {
			value = given
			if !ok {
				value = "true"
			}
		}
	}
	yes, err := strconv.ParseBool(value)
	return err == nil && yes
}

// newRoot is the command with all its subcommands. Cancelling its context is
// how a signal ends them.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:     "concord",
		Short:   "Which server is responsible for a key?",
		Version: version(),
		Long: `Concord runs members of a ring. Every member knows which of them is responsible
for a key, while members join, leave and crash.

See it:     concord demo
Measure it: concord bench
Run one:    concord run --name node1 --bind 127.0.0.1:7946
Ask it:     concord lookup KEY, concord ring

Every flag can also be set by an environment variable whose name is CONCORD_ and
the name of the flag: CONCORD_ADDR for --addr, CONCORD_TLS_CERT for --tls-cert.
A flag overrides its variable, and the variable overrides the default. If a flag
may be repeated, its variable has several values separated by commas.

In JSON, identifiers and incarnations are strings of digits, because they have
64 bits and the numbers of jq and JavaScript have 53. Fields whose names end in
_ns are nanoseconds.`,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return setFromEnvironment(cmd, os.LookupEnv)
		},
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", ".FlagUsagesWrapped 80"))
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(newRun(), newDemo(), newLookup(), newTrace(), newRing(), newStatus(), newWatch(), newDrain(), newWeight(), newLeave(), newCerts(),
		newCheck(), newSim(), newBench(), newReference())
	return root
}

// flagError is what is wrong with a flag, and where the flags are listed.
func flagError(cmd *cobra.Command, err error) error {
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		if use := usable(e.GetFlag(), e.GetValue()); use != "" {
			err = fmt.Errorf("--%s %q: %s", e.GetFlag().Name, e.GetValue(), use)
		}
	}
	return fmt.Errorf("%w\nits flags: %s --help", err, cmd.CommandPath())
}

// usable says which values a flag takes, to one who gave it another. It is empty if the error of
// the flag says so itself.
func usable(flag *pflag.Flag, value string) string {
	switch flag.Value.Type() {
	case "uint", "uint64":
		if x, err := strconv.ParseFloat(value, 64); err == nil && x >= 0 && x == math.Trunc(x) {
			return "use a smaller number"
		}
		return "use a whole number of at least 0"
	case "int":
		return "use a whole number"
	case "float64":
		return "use a number"
	case "duration":
		return "use a time with its unit, such as 500ms or 2s"
	case "bool":
		return "use true or false"
	}
	return ""
}

// version is that of the module, and the revision that the program was built from, as far as
// the build says.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	out := info.Main.Version
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			out += ", revision " + s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			out += ", modified"
		}
	}
	return out + ", " + info.GoVersion
}

// flagsOnly checks that a command is given nothing but flags.
func flagsOnly(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	what := "flags only"
	if cmd.HasSubCommands() {
		what = "a command or flags"
	}
	return fmt.Errorf("%q: %s takes %s, see %s --help", args[0], cmd.CommandPath(), what, cmd.CommandPath())
}
