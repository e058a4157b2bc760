// Package adminpb is the admin service as Go types, generated from
// proto/admin.proto by "go generate ./internal/pb" and never edited. Only package
// remote imports it.
package adminpb
