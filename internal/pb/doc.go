// Package pb is the wire contract as Go types, generated from
// proto/concord.proto and never edited. Only transport/grpc imports it: the
// rest of the module speaks the types of packages ring, protocol and routing.
//
// After a change of the contract run "go generate ./internal/pb". It needs
// protoc; the Go plugins are built from tools/go.mod.
package pb

//go:generate sh generate.sh
