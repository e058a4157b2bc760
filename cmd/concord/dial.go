package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/remote"
)

// What the commands that ask others go by.
const (
	defaultAddr  = "127.0.0.1:7946"
	askTimeout   = 10 * time.Second
	dialPatience = 3 * time.Second // for a member to answer at all
)

// dialFlags are those of the commands that ask a ring over the members' port.
type dialFlags struct {
	addr     []string
	cluster  string
	hashBits uint
	tls      tlsFlags
	timeout  time.Duration
	flags    *pflag.FlagSet
}

func (f *dialFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	f.flags = flags
	flags.StringArrayVar(&f.addr, "addr", []string{defaultAddr}, "host:port of a member; may be repeated")
	flags.StringVar(&f.cluster, "cluster", "", "name of the ring, as set on the members")
	flags.UintVar(&f.hashBits, "hash-bits", concord.DefaultHashBits, "width of the circle in bits, as set on the members")
	f.tls.register(cmd, "a certificate that the members accept")
	flags.DurationVar(&f.timeout, "timeout", askTimeout, "time limit for the whole command; if it is not given, the first answer of a member must come within 3s")
}

// check finds what is wrong with the flags themselves.
func (f *dialFlags) check() error {
	if f.timeout <= 0 {
		return fmt.Errorf("--timeout %v: use a time greater than zero", f.timeout)
	}
	return nil
}

// dial makes a client of the ring that addrs lead to.
func (f *dialFlags) dial(ctx context.Context, addrs ...string) (*concord.Client, error) {
	cfg := concord.ClientConfig{Cluster: f.cluster, HashBits: f.hashBits}
	mutual, err := f.tls.load()
	if err != nil {
		return nil, err
	}
	if mutual != nil {
		cfg.TLS, cfg.Identity = mutual.Client, mutual.Identity
	}
	patience := dialPatience
	if f.flags != nil && f.flags.Changed("timeout") {
		patience = f.timeout
	}
	soon, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client, err := concord.Dial(soon, cfg, addrs...)
	if err != nil {
		return nil, f.advise(err)
	}
	return client, nil
}

// with runs do with a client of the ring, within the time-out.
func (f *dialFlags) with(ctx context.Context, do func(context.Context, *concord.Client) error) error {
	if err := f.check(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	client, err := f.dial(ctx, f.addr...)
	if err != nil {
		return err
	}
	defer client.Close()
	return do(ctx, client)
}

// advise says what to do here about an error of asking a ring.
func (f *dialFlags) advise(err error) error {
	if mistakes := configErrors(err); len(mistakes) > 0 {
		lines := make([]error, len(mistakes))
		for i, m := range mistakes {
			flag := map[string]string{"HashBits": "--hash-bits", "TLS": "--tls-cert, --tls-key, --tls-ca"}[m.Field]
			lines[i] = fmt.Errorf("%s: %w", cmp.Or(flag, m.Field), m.Err)
		}
		return errors.Join(lines...)
	}
	var advice string
	switch {
	case errors.Is(err, concord.ErrAddress):
		advice = "--addr needs host:port of a member, as " + defaultAddr
	case errors.Is(err, concord.ErrDifferentRing):
		advice = "give the members' own --cluster and --hash-bits"
	case errors.Is(err, concord.ErrDenied):
		advice = "the certificate of who answers at --addr is not that of the member: see --tls-identity, and give the members' own --cluster"
	case errors.Is(err, concord.ErrNotJoined):
		advice = "the member is in no ring yet: wait until it is, or ask another by --addr"
	case errors.Is(err, concord.ErrUnavailable):
		advice = "is a member running at --addr? That is the members' port, not the admin listener's"
		if f.tls.cert == "" {
			advice += ".\nMembers that run with TLS need --tls-cert, --tls-key and --tls-ca here"
		}
	default:
		return err
	}
	return fmt.Errorf("%w\n%s", err, advice)
}

// adminFlags are those of the commands that ask a member at its admin listener.
type adminFlags struct {
	addr    string
	timeout time.Duration
}

func (f *adminFlags) register(cmd *cobra.Command, timeout time.Duration) {
	cmd.Flags().StringVar(&f.addr, "admin", "", `host:port or unix:PATH of the member's admin listener, the --admin of "concord run" (required)`)
	if timeout > 0 {
		cmd.Flags().DurationVar(&f.timeout, "timeout", timeout, "time limit for the answer")
	}
}

// with runs do with a client of the admin listener.
func (f *adminFlags) with(do func(*remote.Client) error) error {
	if f.addr == "" {
		return errors.New(`no member given: use --admin host:port or unix:PATH, the --admin of its "concord run"`)
	}
	if f.timeout < 0 {
		return fmt.Errorf("--timeout %v: use a time greater than zero", f.timeout)
	}
	client, err := remote.Dial(f.addr)
	if err != nil {
		return fmt.Errorf("--admin %s: %w", f.addr, err)
	}
	defer client.Close()
	err = do(client)
	switch {
	case errors.Is(err, remote.ErrNotAdmin):
		return fmt.Errorf("--admin %s: %w\nthe admin listener has a port of its own: the --admin of \"concord run\", not its --bind", f.addr, err)
	case errors.Is(err, remote.ErrUnavailable):
		return fmt.Errorf("--admin %s: %w\nis the member running, with --admin %s?", f.addr, err, f.addr)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("--admin %s: no answer within %v", f.addr, f.timeout)
	}
	return err
}

// environment is the variable that stands for a flag.
func environment(flag string) string {
	return "CONCORD_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// setFromEnvironment gives every flag that was not given the value of its
// variable. The flag comes first, then the environment, then the default.
func setFromEnvironment(cmd *cobra.Command, lookup func(string) (string, bool)) error {
	var errs []error
	flags := cmd.Flags()
	flags.VisitAll(func(f *pflag.Flag) {
		value, ok := lookup(environment(f.Name))
		if !ok || f.Changed || f.Hidden || f.Name == "help" {
			return
		}
		values := []string{value}
		if f.Value.Type() == "stringArray" { // which may be repeated
			values = strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' })
		}
		for _, v := range values {
			if err := flags.Set(f.Name, v); err != nil {
				why := usable(f, v)
				if why == "" {
					why = errors.Unwrap(err).Error()
				}
				errs = append(errs, fmt.Errorf("%s=%q: %s", environment(f.Name), value, why))
			}
		}
	})
	return errors.Join(errs...)
}
