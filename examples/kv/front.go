package main

import (
	"errors"
	"io"
	"net/http"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ollelogdahl/concord/concordgrpc"
	"github.com/ollelogdahl/concord/examples/kv/kvpb"
)

// newFront serves the store over HTTP: GET, PUT and DELETE of /kv/KEY.
func newFront(ring concordgrpc.Ring) http.Handler {
	client := newClient(ring)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /kv/{key...}", func(w http.ResponseWriter, r *http.Request) {
		reply, err := client.Get(r.Context(), &kvpb.GetRequest{Key: []byte(r.PathValue("key"))})
		if failed(w, err) {
			return
		}
		if !reply.GetFound() {
			http.Error(w, "no such key", http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(reply.GetValue())
	})
	mux.HandleFunc("PUT /kv/{key...}", func(w http.ResponseWriter, r *http.Request) {
		value, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxValue))
		if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
			http.Error(w, tooLarge.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		if err == nil {
			_, err = client.Put(r.Context(), &kvpb.PutRequest{Key: []byte(r.PathValue("key")), Value: value})
		}
		if !failed(w, err) {
			w.WriteHeader(http.StatusNoContent)
		}
	})
	mux.HandleFunc("DELETE /kv/{key...}", func(w http.ResponseWriter, r *http.Request) {
		_, err := client.Delete(r.Context(), &kvpb.DeleteRequest{Key: []byte(r.PathValue("key"))})
		if !failed(w, err) {
			w.WriteHeader(http.StatusNoContent)
		}
	})
	return mux
}

// failed tells the client of an error. After a 503 a write may have happened or not.
func failed(w http.ResponseWriter, err error) bool {
	if err == nil {
		return false
	}
	code := http.StatusServiceUnavailable
	if status.Code(err) == codes.InvalidArgument {
		code = http.StatusBadRequest
	}
	http.Error(w, err.Error(), code)
	return true
}
