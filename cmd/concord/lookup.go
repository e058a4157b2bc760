package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/plain"
)

type lookupFlags struct {
	dialFlags
	n        int
	fresh    bool
	verified bool
	json     bool
}

func newLookup() *cobra.Command {
	var f lookupFlags
	cmd := &cobra.Command{
		Use:   "lookup KEY...",
		Short: "Show which member is responsible for a key",
		Long: `Ask the ring which member is responsible for each of the keys, without joining
it. With --n, show also the members after it, where copies are kept. The keys
are hashed with the default function; a ring with another function refuses the
request.

With --json there is one line for each key, with key, id and servers or error. A
key that is not UTF-8 is in the field key_base64 instead of key. The exit status
is not 0 if a lookup failed.`,
		Example: `  concord lookup apple pear --addr node1.example.com:7946
  concord lookup apple --n 3 --json`,
		Args: keys(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.n < 1 || f.n > concord.MaxLookupN {
				return fmt.Errorf("--n %d: use 1 to %d", f.n, concord.MaxLookupN)
			}
			return f.with(cmd.Context(), func(ctx context.Context, c *concord.Client) error {
				return f.run(ctx, c, args, cmd.OutOrStdout())
			})
		},
	}
	f.register(cmd)
	cmd.Flags().IntVar(&f.n, "n", 1, "number of members to show: the owner and those after it")
	cmd.Flags().BoolVar(&f.fresh, "fresh", false, "accept only what the owner itself confirms")
	cmd.Flags().BoolVar(&f.verified, "verified", false, "accept only an owner that two searches agree on, too")
	cmd.Flags().BoolVar(&f.json, "json", false, "print a line of JSON for each key")
	return cmd
}

// keys checks that there are so many keys; most < 0: any number.
func keys(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch n := len(args); {
		case n < least:
			return fmt.Errorf("no key given: concord %s KEY", cmd.Name())
		case most >= 0 && n > most:
			return fmt.Errorf("%d keys: concord %s takes one (quote a key with spaces)", n, cmd.Name())
		}
		return nil
	}
}

// found is what a lookup of one key gives.
type found struct {
	Key       *string          `json:"key,omitempty"`        // if it is text
	KeyBase64 []byte           `json:"key_base64,omitempty"` // if it is not
	Id        uint64           `json:"id,string"`
	Servers   []concord.Server `json:"servers,omitempty"`
	Error     string           `json:"error,omitempty"`
}

func (f *lookupFlags) run(ctx context.Context, c *concord.Client, keys []string, out io.Writer) error {
	var opts []concord.LookupOption
	if f.fresh {
		opts = append(opts, concord.Fresh())
	}
	if f.verified {
		opts = append(opts, concord.Verified())
	}
	failed := 0
	var last error
	for _, key := range keys {
		servers, err := c.LookupN(ctx, []byte(key), f.n, opts...)
		r := found{Id: concord.New(concord.Config{Name: key, HashBits: f.hashBits}).Id(), Servers: servers}
		if utf8.ValidString(key) {
			r.Key = &key
		} else {
			r.KeyBase64 = []byte(key)
		}
		if err != nil {
			r.Error = err.Error()
			last = err
			failed++
		}
		if f.json {
			if err := printLine(out, r); err != nil {
				return err
			}
			continue
		}
		for i, s := range servers {
			if i == 0 {
				fmt.Fprintf(out, "%s -> %s\n", cell(key, 255), person(s))
			} else {
				fmt.Fprintf(out, "%*s    %s\n", len([]rune(cell(key, 255))), "", person(s))
			}
		}
		if err != nil {
			fmt.Fprintf(out, "%s: %s\n", cell(key, 255), plain.Text(err.Error()))
		}
	}
	switch {
	case failed == 1 && len(keys) == 1:
		return f.advise(last)
	case failed > 0:
		return errors.New(plural(failed, "lookup") + " failed")
	}
	return nil
}

// plural is n things.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%s %ss", grouped(n), thing)
}
