package concord

import (
	"crypto/tls"
	"errors"
)

// TLSConfig configures mutual TLS between members. Every member is both server and client, so both
// halves are required. New clones the configurations.
//
// What a member claims must be in its certificate. The rule is Identity. Connections are replaced
// after at most 25 minutes, and a minute before a certificate of theirs ends, so that changed
// certificates and CAs come into use and old ones go out of use while members run.
//
// With a LogHandler, a member checks its own certificates at the start and every hour. For that the
// two halves shake hands with each other in memory. Their functions are called as for a connection
// from 127.0.0.1. The member logs what is wrong.
type TLSConfig struct {
	// Server is used for connections from other members. It needs a certificate. Its ClientAuth
	// must be tls.RequireAndVerifyClientCert, and so must that of the configurations that
	// GetConfigForClient returns.
	Server *tls.Config
	// Client is used for connections to other members. It needs a certificate. If its ServerName is
	// empty, the host of the dialed address is verified.
	Client *tls.Config
	// GetClient, if not nil, is called for each connection to another member and returns the
	// configuration to use instead of Client. With it the CA can change while the member runs; for
	// connections from others use Server.GetConfigForClient. The result has to meet the
	// requirements of Client, and Client.ServerName applies to it. If GetClient returns an error,
	// the connection fails. It must be safe for concurrent use.
	GetClient func() (*tls.Config, error)
	// Identity returns an error if the certificate of a peer does not prove the peer's claim to be
	// a member. Such a peer is refused: its requests change nothing, and its answers are not used.
	// Status and the log name the peer and the error. Identity is called once for each connection
	// and member, in both directions, and again for each request or answer of a refused peer. It is
	// not called for clients, which claim nothing. It must be safe for concurrent use.
	//
	// If nil, the certificate must be valid for the host of the advertised address, or for
	// Client.ServerName if that is set. If the certificate has URIs of the form of [MemberURI], one
	// of them must be that of the member's name and cluster. With Client.InsecureSkipVerify only
	// the URIs are checked, because VerifyConnection has its own rule for hosts.
	//
	// [Peer.VerifyHost] and [Peer.VerifyName] are for use in an Identity. For SPIFFE, for example:
	//
	//	Identity: func(p concord.Peer) error {
	//		return p.VerifyName("spiffe://example.org/{cluster}/{name}")
	//	},
	Identity func(Peer) error
}

// validate reports what is missing for mutual TLS.
func (c *TLSConfig) validate() []error {
	if c == nil {
		return nil
	}
	var errs []error
	wrong := func(field, msg string) {
		errs = append(errs, &ConfigError{Field: field, Err: errors.New(msg)})
	}
	if s := c.Server; s == nil {
		wrong("TLS.Server", "is missing: every member is both server and client")
	} else {
		if len(s.Certificates) == 0 && s.GetCertificate == nil && s.GetConfigForClient == nil {
			wrong("TLS.Server", "has no certificate: set Certificates, GetCertificate or GetConfigForClient")
		}
		if s.ClientAuth != tls.RequireAndVerifyClientCert {
			wrong("TLS.Server", errClientAuth(s.ClientAuth).Error())
		}
	}
	if k := c.Client; k == nil {
		wrong("TLS.Client", "is missing: every member is both server and client")
	} else {
		checkClient(k, func(msg string) { wrong("TLS.Client", msg) })
	}
	return errs
}

// checkClient reports what keeps c from being the client's half of mutual TLS.
func checkClient(c *tls.Config, wrong func(msg string)) {
	if len(c.Certificates) == 0 && c.GetClientCertificate == nil {
		wrong("has no certificate: set Certificates or GetClientCertificate")
	}
	if c.InsecureSkipVerify && c.VerifyConnection == nil {
		wrong("InsecureSkipVerify without VerifyConnection would accept anybody")
	}
}

// clone copies both halves, so that what the caller does to its own later
// changes nothing here.
func (c *TLSConfig) clone() *TLSConfig {
	if c == nil {
		return nil
	}
	out := &TLSConfig{Server: c.Server.Clone(), Client: c.Client.Clone(), GetClient: c.GetClient, Identity: c.Identity}
	if out.Server != nil && out.Server.GetConfigForClient != nil {
		get := out.Server.GetConfigForClient
		out.Server.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			s, err := get(hello)
			if err == nil && s != nil && s.ClientAuth != tls.RequireAndVerifyClientCert {
				return nil, &ConfigError{Field: "TLS.Server.GetConfigForClient", Err: errClientAuth(s.ClientAuth)}
			}
			return s, err
		}
	}
	return out
}

// errClientAuth: members that are not asked for a certificate could be anybody.
func errClientAuth(is tls.ClientAuthType) error {
	return errors.New("ClientAuth must be RequireAndVerifyClientCert, it is " + is.String())
}

// client is GetClient with the rules of Client, nil without it.
func (c *TLSConfig) client() func() (*tls.Config, error) {
	if c == nil || c.GetClient == nil {
		return nil
	}
	return func() (*tls.Config, error) {
		k, err := c.GetClient()
		switch {
		case err != nil:
			return nil, err
		case k == nil:
			return nil, errors.New("TLS.GetClient returned no configuration")
		}
		checkClient(k, func(msg string) {
			err = errors.Join(err, &ConfigError{Field: "TLS.GetClient", Err: errors.New(msg)})
		})
		return k, err
	}
}
