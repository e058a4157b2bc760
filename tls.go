package concord

import (
	"crypto/tls"
	"errors"
)

// TLSConfig is the configuration of both directions of mutual TLS. Every member
// is server and client at once, so both halves are required. The configurations
// are cloned by New.
//
// Any certificate that the other side's CA accepts may take part under any
// member name: names are not bound to certificates.
//
// With a LogHandler, a member looks at its own certificates at the start and every
// hour: the two halves shake hands with each other in memory, which calls their
// functions as a connection from 127.0.0.1 does. What is wrong is logged.
type TLSConfig struct {
	// Server is used for connections from other members. It needs a
	// certificate, and ClientAuth must be tls.RequireAndVerifyClientCert, also of
	// what GetConfigForClient gives.
	Server *tls.Config
	// Client is used for connections to other members. It needs a certificate.
	// Unless it sets ServerName, the name verified is the host of the address
	// that is dialled.
	Client *tls.Config
	// GetClient, if set, is called for each connection to another member and gives
	// the configuration to be used instead of Client, so that the CA can change
	// while the member runs, as Server.GetConfigForClient lets it in the other
	// direction. The rules are those of Client, whose ServerName holds. An error
	// fails the connection. It may be called concurrently.
	GetClient func() (*tls.Config, error)
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
		wrong("TLS.Server", "is missing: every member is server and client at once")
	} else {
		if len(s.Certificates) == 0 && s.GetCertificate == nil && s.GetConfigForClient == nil {
			wrong("TLS.Server", "has no certificate: set Certificates, GetCertificate or GetConfigForClient")
		}
		if s.ClientAuth != tls.RequireAndVerifyClientCert {
			wrong("TLS.Server", errClientAuth(s.ClientAuth).Error())
		}
	}
	if k := c.Client; k == nil {
		wrong("TLS.Client", "is missing: every member is server and client at once")
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
	out := &TLSConfig{Server: c.Server.Clone(), Client: c.Client.Clone(), GetClient: c.GetClient}
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
			return nil, errors.New("TLS.GetClient has given no configuration")
		}
		checkClient(k, func(msg string) {
			err = errors.Join(err, &ConfigError{Field: "TLS.GetClient", Err: errors.New(msg)})
		})
		return k, err
	}
}
