package concordgrpc

import (
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ollelogdahl/concord"
)

// refusal is the reason that a refused call has in the details of its status.
const refusal = "concord: not the owner"

// refuse is the error of a call that self does not handle, and whose owner may be owner.
func refuse(self string, owner concord.Server, why string) error {
	st := status.Newf(codes.Aborted, "concord: %s does not serve the key: %s", self, why)
	details, err := structpb.NewStruct(map[string]any{
		"reason": refusal, "name": owner.Name, "id": strconv.FormatUint(owner.Id, 10), "address": owner.Address,
	})
	if err != nil { // a name that is not UTF-8, which no member has
		return st.Err()
	}
	if with, err := st.WithDetails(details); err == nil {
		st = with
	}
	return st.Err()
}

// Refused reports whether err is the refusal of a Guard: the member has not handled the call, since
// it does not serve the key. Owner is the member that the refusing one takes for the owner. It is
// zero if that one knows none, and it is the refusing member itself while that does not serve the
// key yet. The code of such an error is Aborted.
func Refused(err error) (owner concord.Server, ok bool) {
	st, isStatus := status.FromError(err)
	if !isStatus || st.Code() != codes.Aborted {
		return concord.Server{}, false
	}
	for _, d := range st.Details() {
		details, isStruct := d.(*structpb.Struct)
		if !isStruct || details.Fields["reason"].GetStringValue() != refusal {
			continue
		}
		id, err := strconv.ParseUint(details.Fields["id"].GetStringValue(), 10, 64)
		if err != nil {
			continue
		}
		return concord.Server{
			Name: details.Fields["name"].GetStringValue(), Id: id, Address: details.Fields["address"].GetStringValue(),
		}, true
	}
	return concord.Server{}, false
}

// RouteError says why a Router gave a call up. It matches Err with errors.Is. Its gRPC status has
// the code of Err.
type RouteError struct {
	// Asked are the members that were called, in order. None of them has handled the call.
	Asked []concord.Server
	// Err is what the last try ended with.
	Err error
}

// Error lists the members that were called, and says what the last one answered.
func (e *RouteError) Error() string {
	called := "none was called"
	if len(e.Asked) > 0 {
		names := make([]string, len(e.Asked))
		for i, s := range e.Asked {
			names[i] = s.Name
		}
		called = "called: " + strings.Join(names, ", ")
	}
	return fmt.Sprintf("concord: no member handled the call (%s): %v", called, e.Err)
}

// Unwrap returns Err.
func (e *RouteError) Unwrap() error { return e.Err }

// GRPCStatus is for package status.
func (e *RouteError) GRPCStatus() *status.Status {
	st := status.FromContextError(e.Err)
	if st.Code() == codes.Unknown {
		st = status.Convert(e.Err)
	}
	if st.Code() == codes.Unknown { // of a lookup
		return status.New(codes.Unavailable, e.Error())
	}
	return status.New(st.Code(), e.Error())
}
