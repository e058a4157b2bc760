package concord

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/ollelogdahl/concord/internal/transport"
)

// MemberURI is the template of the URIs by which certificates name members. The certificate of
// member node1 of cluster prod has concord://prod/node1, and concord:///node1 if the cluster has no
// name. See [Peer.VerifyName]. The cluster is the host of the URI, so it can have letters, digits
// and the characters . _ - only. For other clusters set an Identity with another template.
const MemberURI = "concord://{cluster}/{name}"

// memberScheme is the scheme of MemberURI.
const memberScheme = "concord"

// Peer is the other side of a connection, with the member that it claims to be.
type Peer struct {
	// Server is the claim: the name, the identifier and the advertised address.
	Server
	// Cluster is the Config.Cluster of this side. Peers of another cluster are refused.
	Cluster string
	// Incoming is true if the peer made the connection and sends a request. It is false if it
	// answers one.
	Incoming bool
	// Remote is the address of the other end of the connection.
	Remote string
	// TLS is the state of the connection, with the peer's certificate, which is verified against
	// the CA. It is nil without TLS. It must not be modified.
	TLS *tls.ConnectionState
}

// Leaf returns the certificate of the peer itself. It is nil without TLS.
func (p Peer) Leaf() *x509.Certificate {
	if p.TLS == nil || len(p.TLS.PeerCertificates) == 0 {
		return nil
	}
	return p.TLS.PeerCertificates[0]
}

var errNoCertificate = errors.New("the peer has no certificate")

// VerifyHost returns an error unless the certificate of the peer is valid for the host of the
// peer's advertised address.
func (p Peer) VerifyHost() error {
	host, _, err := net.SplitHostPort(p.Address)
	if err != nil {
		host = p.Address
	}
	return p.verifyHost(host)
}

func (p Peer) verifyHost(host string) error {
	leaf := p.Leaf()
	if leaf == nil {
		return errNoCertificate
	}
	return leaf.VerifyHostname(host)
}

// VerifyName returns an error unless the certificate of the peer has the name that the template
// makes of the peer's name and cluster. In the template, {name} stands for the name and {cluster}
// for the cluster. A template with "://" is compared with the URIs of the certificate, as in
// "spiffe://example.org/{cluster}/{name}". Any other template is compared with its DNS names, as
// in "{name}.{cluster}.example.org", without regard to case. A wildcard of the certificate never
// matches.
func (p Peer) VerifyName(template string) error {
	leaf := p.Leaf()
	if leaf == nil {
		return errNoCertificate
	}
	if !strings.Contains(template, "://") {
		want := strings.NewReplacer("{name}", p.Name, "{cluster}", p.Cluster).Replace(template)
		if slices.ContainsFunc(leaf.DNSNames, func(has string) bool { return strings.EqualFold(has, want) }) {
			return nil
		}
		return fmt.Errorf("the certificate has the DNS names %q, not %q", leaf.DNSNames, want)
	}
	want := strings.NewReplacer("{name}", escaped(p.Name), "{cluster}", escaped(p.Cluster)).Replace(template)
	var has []string
	for _, u := range leaf.URIs {
		has = append(has, u.String())
	}
	if slices.Contains(has, want) {
		return nil
	}
	return fmt.Errorf("the certificate has the URIs %q, not %q", has, want)
}

// escaped is s as one segment of the path of a URI.
func escaped(s string) string { return url.PathEscape(s) }

// defaultIdentity is the rule of a TLSConfig without Identity, whose other side is verified by
// client.
func defaultIdentity(client *tls.Config) func(Peer) error {
	host, skip := client.ServerName, client.InsecureSkipVerify
	return func(p Peer) error {
		leaf := p.Leaf()
		if leaf == nil {
			return errNoCertificate
		}
		if slices.ContainsFunc(leaf.URIs, func(u *url.URL) bool { return u.Scheme == memberScheme }) {
			if err := p.VerifyName(MemberURI); err != nil {
				return err
			}
		}
		switch {
		case skip:
			return nil // VerifyConnection has verified it in its own way
		case host != "":
			return p.verifyHost(host)
		}
		return p.VerifyHost()
	}
}

// admission is what a process demands of those who claim to be members.
type admission struct {
	cluster   string
	identity  func(Peer) error // nil: without TLS
	authorize func(Peer) error // nil: everybody may be a member
}

// admission is that of a member.
func (c *Config) admission() admission {
	a := admission{cluster: c.Cluster, authorize: c.Authorize}
	if c.TLS != nil {
		a.identity = c.TLS.rule()
	}
	return a
}

// rule is Identity, or the default.
func (c *TLSConfig) rule() func(Peer) error {
	if c.Identity != nil {
		return c.Identity
	}
	return defaultIdentity(c.Client)
}

// admission is that of a client.
func (c *ClientConfig) admission() admission {
	a := admission{cluster: c.Cluster}
	if c.TLS != nil {
		if a.identity = c.Identity; a.identity == nil {
			a.identity = defaultIdentity(c.TLS)
		}
	}
	return a
}

// admits is what the transport asks; nil if everybody is admitted.
func (a admission) admits() func(transport.Claim) error {
	if a.identity == nil && a.authorize == nil {
		return nil
	}
	return func(c transport.Claim) error {
		p := Peer{Server: server(c.Member), Cluster: a.cluster, Incoming: c.Incoming, Remote: c.Remote, TLS: c.TLS}
		if p.TLS != nil {
			if err := a.proves(p); err != nil {
				return err
			}
		}
		if a.authorize == nil {
			return nil
		}
		if err := a.authorize(p); err != nil {
			return fmt.Errorf("Config.Authorize does not accept %s: %w", named(p), err)
		}
		return nil
	}
}

// proves says why the certificate of a peer does not prove what it claims.
func (a admission) proves(p Peer) error {
	if a.identity == nil {
		return nil
	}
	if err := a.identity(p); err != nil {
		subject := ""
		if leaf := p.Leaf(); leaf != nil {
			subject = leaf.Subject.String()
		}
		return fmt.Errorf("TLSConfig.Identity: the certificate %q does not prove %s: %w", subject, named(p), err)
	}
	return nil
}

// named says which member a peer claims to be.
func named(p Peer) string { return fmt.Sprintf("member %q at %q", p.Name, p.Address) }
