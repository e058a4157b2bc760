// Package alerts has no code of its own: its tests check the alert rules and the
// dashboard of deploy/ with Prometheus's own parser, engine and templates. It is a
// module of its own, so that no user of the library inherits Prometheus.
package alerts
