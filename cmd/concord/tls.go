package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/ollelogdahl/concord"
)

// tlsAgain is how often a member looks whether its files of TLS have changed.
const tlsAgain = 5 * time.Second

// tlsFlags name the files of mutual TLS.
type tlsFlags struct{ cert, key, ca, identity string }

func (f *tlsFlags) register(cmd *cobra.Command, whose string) {
	flags := cmd.Flags()
	flags.StringVar(&f.cert, "tls-cert", "", "PEM file with "+whose)
	flags.StringVar(&f.key, "tls-key", "", "PEM file with the certificate's key")
	flags.StringVar(&f.ca, "tls-ca", "", "PEM file with the CA of the other members' certificates")
	flags.StringVar(&f.identity, "tls-identity", "", "what the certificate of a member must have: a template of a URI such as spiffe://example.org/{cluster}/{name}, or of a DNS name such as {name}.example.org; or any, for nothing (default: the host of its address, and concord://CLUSTER/NAME if it has such URIs)")
	cmd.MarkFlagsRequiredTogether("tls-cert", "tls-key", "tls-ca")
}

// anyIdentity is the --tls-identity by which every certificate may be any member's.
const anyIdentity = "any"

// rule is what the certificate of a member must prove; nil: the default.
func (f *tlsFlags) rule() (func(concord.Peer) error, error) {
	switch {
	case f.identity == "":
		return nil, nil
	case f.identity == anyIdentity:
		return func(concord.Peer) error { return nil }, nil
	case !strings.Contains(f.identity, "{name}"):
		return nil, fmt.Errorf("--tls-identity %q: use a template with {name}, or %s", f.identity, anyIdentity)
	}
	return func(p concord.Peer) error { return p.VerifyName(f.identity) }, nil
}

// load makes both halves of mutual TLS of one certificate and one CA; nil without
// flags.
func (f *tlsFlags) load() (*concord.TLSConfig, error) {
	if *f == (tlsFlags{}) {
		return nil, nil
	}
	return f.read().mutual(f)
}

// tlsFiles is what is in the files, or why it cannot be read.
type tlsFiles struct {
	cert, key, ca []byte
	problem       string
}

func (f *tlsFlags) read() (t tlsFiles) {
	for _, file := range []struct {
		flag, name string
		into       *[]byte
	}{{"--tls-cert", f.cert, &t.cert}, {"--tls-key", f.key, &t.key}, {"--tls-ca", f.ca, &t.ca}} {
		pem, err := os.ReadFile(file.name)
		if err != nil && t.problem == "" {
			t.problem = fmt.Sprintf("%s: %v", file.flag, err)
		}
		*file.into = pem
	}
	return t
}

func (t tlsFiles) equal(o tlsFiles) bool {
	return t.problem == o.problem && bytes.Equal(t.cert, o.cert) && bytes.Equal(t.key, o.key) && bytes.Equal(t.ca, o.ca)
}

// mutual makes both halves of what is in the files.
func (t tlsFiles) mutual(f *tlsFlags) (*concord.TLSConfig, error) {
	if f.cert == "" {
		return nil, errors.New("--tls-identity needs --tls-cert, --tls-key and --tls-ca")
	}
	if t.problem != "" {
		return nil, fmt.Errorf("%s", t.problem)
	}
	cert, err := tls.X509KeyPair(t.cert, t.key)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert %s, --tls-key %s: %w", f.cert, f.key, err)
	}
	ca := x509.NewCertPool()
	if !ca.AppendCertsFromPEM(t.ca) {
		return nil, fmt.Errorf("--tls-ca: %s holds no PEM certificate", f.ca)
	}
	rule, err := f.rule()
	if err != nil {
		return nil, err
	}
	certs := []tls.Certificate{cert}
	return &concord.TLSConfig{
		Server: &tls.Config{Certificates: certs, ClientCAs: ca, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13},
		Client: &tls.Config{Certificates: certs, RootCAs: ca, MinVersion: tls.VersionTLS13},

		Identity: rule,
	}, nil
}

// renewal keeps mutual TLS as the files are now. A nil one has nothing to do.
type renewal struct {
	flags *tlsFlags
	log   *slog.Logger
	seen  tlsFiles
	now   atomic.Pointer[concord.TLSConfig]
}

// renewing reads the files for the first time; nil without flags.
func (f *tlsFlags) renewing(log *slog.Logger) (*renewal, error) {
	if *f == (tlsFlags{}) {
		return nil, nil
	}
	r := &renewal{flags: f, log: log, seen: f.read()}
	mutual, err := r.seen.mutual(f)
	if err != nil {
		return nil, err
	}
	r.now.Store(mutual)
	return r, nil
}

// config is the configuration of a member whose new connections are secured as the
// files were when they were last good.
func (r *renewal) config() *concord.TLSConfig {
	if r == nil {
		return nil
	}
	first := r.now.Load()
	server := first.Server.Clone()
	server.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return r.now.Load().Server, nil }
	return &concord.TLSConfig{
		Server:    server,
		Client:    first.Client,
		GetClient: func() (*tls.Config, error) { return r.now.Load().Client, nil },
		Identity:  first.Identity,
	}
}

// follow reads the files again and again until done is closed.
func (r *renewal) follow(done <-chan struct{}) {
	if r == nil {
		return
	}
	tick := time.NewTicker(tlsAgain)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.again()
		case <-done:
			return
		}
	}
}

// again reads the files and uses what is in them, if that is new and of use. A
// certificate whose key is not written yet is not, for instance.
func (r *renewal) again() {
	files := r.flags.read()
	if files.equal(r.seen) {
		return
	}
	r.seen = files
	mutual, err := files.mutual(r.flags)
	if err != nil {
		r.log.Error("the changed TLS files are not used, the old ones go on", slog.Any("err", err))
		return
	}
	r.now.Store(mutual)
	r.log.Info("TLS files read again", slog.Time("good_until", mutual.Server.Certificates[0].Leaf.NotAfter))
}
