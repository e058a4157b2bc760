package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// The files of the test CA.
const (
	caFile    = "ca.pem"
	caKeyFile = "ca-key.pem"
	caYears   = 10
)

type certsFlags struct {
	dir     string
	cluster string
	host    []string
	days    int
	json    bool
}

func newCerts() *cobra.Command {
	var f certsFlags
	cmd := &cobra.Command{
		Use:   "certs NAME[=HOST,...]...",
		Short: "Make certificates of a test CA, for TLS between members",
		Long: `Make the files NAME.pem and NAME-key.pem for each name. The certificates are
valid for servers and clients. They are signed by the CA in ca.pem and
ca-key.pem, which is made first if it does not exist. No file is overwritten.

A certificate is that of one member: it has the URI concord://CLUSTER/NAME, and
is valid for the hosts after the name, which must include the host of the
member's --advertise. Members refuse one that claims another name, cluster or
host. Hosts given with --host are added to all certificates. Without any host, a
certificate is valid for localhost, 127.0.0.1 and ::1.

Use these certificates for tests only. The key of the CA is stored unencrypted
beside them, and everyone who has it can make more.`,
		Example: `  concord certs --cluster prod node1=node1.example.com \
      node2=node2.example.com,10.0.0.2
  concord certs node1 node2
  concord run --name node1 --bind 127.0.0.1:7946 --tls-cert certs/node1.pem \
      --tls-key certs/node1-key.pem --tls-ca certs/ca.pem`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("no name given: concord certs node1 node2")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(args, cmd.OutOrStdout(), time.Now())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.dir, "dir", "certs", "directory of the files; made if it does not exist")
	flags.StringVar(&f.cluster, "cluster", "", "name of the ring, as with concord run")
	flags.StringArrayVar(&f.host, "host", nil, "DNS name or IP address that all the certificates are valid for; may be repeated")
	flags.IntVar(&f.days, "days", 365, "number of days for which the certificates are valid")
	flags.BoolVar(&f.json, "json", false, "print a line of JSON for each certificate")
	return cmd
}

// issued is one certificate that was made.
type issued struct {
	Name  string    `json:"name"`
	Cert  string    `json:"cert"`
	Key   string    `json:"key"`
	CA    string    `json:"ca"`
	Until time.Time `json:"until"`
}

// fileName is a name that is that of a file.
var fileName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// clusterHost is a cluster that can be the host of a URI.
var clusterHost = regexp.MustCompile(`^[A-Za-z0-9_.-]*$`)

// subject is whom a certificate is for.
type subject struct {
	name  string
	hosts []string
}

// subjects reads the arguments, and says why a certificate cannot be made.
func (f *certsFlags) subjects(args []string) ([]subject, error) {
	if f.days < 1 || f.days > 365*caYears {
		return nil, fmt.Errorf("--days %d: use 1 to %d", f.days, 365*caYears)
	}
	if !clusterHost.MatchString(f.cluster) {
		return nil, fmt.Errorf("--cluster %q cannot be in the URI of a certificate: use letters, digits, and . _ -", f.cluster)
	}
	var out []subject
	for _, arg := range args {
		name, list, own := strings.Cut(arg, "=")
		s := subject{name: name, hosts: slices.Clone(f.host)}
		if own {
			s.hosts = append(s.hosts, strings.Split(list, ",")...)
		}
		if len(s.hosts) == 0 {
			s.hosts = []string{"localhost", "127.0.0.1", "::1"}
		}
		if slices.Contains(s.hosts, "") {
			return nil, fmt.Errorf("%q: a host is empty: use NAME=HOST,HOST", arg)
		}
		if err := f.free(name); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

func (f *certsFlags) run(args []string, out io.Writer, now time.Time) error {
	subjects, err := f.subjects(args)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(f.dir, 0o755); err != nil { //nolint:gosec // the certificates are for all to read, the keys have modes of their own
		return fmt.Errorf("--dir: %w", err)
	}
	ca, caKey, err := f.authority(now)
	if err != nil {
		return err
	}
	for _, s := range subjects {
		until, name := now.AddDate(0, 0, f.days), s.name
		made := issued{Name: name, Cert: f.path(name + ".pem"), Key: f.path(name + "-key.pem"), CA: f.path(caFile), Until: until}
		if _, _, err := issue(f.template(s, now, until), ca, caKey, made.Cert, made.Key); err != nil {
			return err
		}
		if f.json {
			err = printLine(out, made)
		} else {
			_, err = fmt.Fprintf(out, "%s, %s: good until %s\n", made.Cert, made.Key, until.Format(time.DateOnly))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// free says why no certificate can be made for a name: it is that of no file, or there
// is one.
func (f *certsFlags) free(name string) error {
	if !fileName.MatchString(name) || name == "ca" {
		return fmt.Errorf("%q cannot be the name of a certificate: use letters, digits, and . _ - within", name)
	}
	for _, file := range []string{f.path(name + ".pem"), f.path(name + "-key.pem")} {
		if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s exists already: remove it first, or choose another --dir", file)
		}
	}
	return nil
}

// template is what the certificate of a member says.
func (f *certsFlags) template(s subject, now, until time.Time) *x509.Certificate {
	t := &x509.Certificate{
		Subject: pkix.Name{CommonName: s.name}, NotBefore: now.Add(-time.Hour), NotAfter: until,
		// The template of concord.MemberURI. Neither part needs to be escaped.
		URIs:        []*url.URL{{Scheme: "concord", Host: f.cluster, Path: "/" + s.name}},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, h := range s.hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	return t
}

func (f *certsFlags) path(name string) string { return filepath.Join(f.dir, name) }

// authority reads the CA, or makes one.
func (f *certsFlags) authority(now time.Time) (*x509.Certificate, crypto.Signer, error) {
	certFile, keyFile := f.path(caFile), f.path(caKeyFile)
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err == nil {
		signer, ok := pair.PrivateKey.(crypto.Signer)
		if !pair.Leaf.IsCA || !ok {
			return nil, nil, fmt.Errorf("%s is not the certificate of a CA", certFile)
		}
		return pair.Leaf, signer, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("the CA in %s: %w", f.dir, err)
	}
	return issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: "Concord test CA"}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(caYears, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, nil, certFile, keyFile)
}

// issue makes a key and a certificate signed by parent, or by itself if that is
// nil, and writes them to files that must not be there.
func issue(template, parent *x509.Certificate, signer crypto.Signer, certFile, keyFile string) (*x509.Certificate, crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, nil, err
	}
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	if err := writeNew(keyFile, 0o600, "PRIVATE KEY", keyDER); err != nil {
		return nil, nil, err
	}
	return cert, key, writeNew(certFile, 0o644, "CERTIFICATE", der)
}

// writeNew writes a PEM file that must not be there yet.
func writeNew(name string, mode fs.FileMode, kind string, der []byte) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	return errors.Join(pem.Encode(file, &pem.Block{Type: kind, Bytes: der}), file.Close())
}
