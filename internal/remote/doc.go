// Package remote lets whoever runs a member ask it for its state, watch its range
// and have it leave, from another process: the service, which the admin
// listener serves, and a client.
//
// The service asks nobody who they are. It belongs on a listener that only those
// reach who may stop the member, see package admin, and never on the members' port.
package remote
