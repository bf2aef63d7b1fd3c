// Package inventory is the stock keeper of the demo fleet.
package inventory

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// What a request passes on to those made for it, and what comes back with a failure: docs/contract.md.
var (
	passedOn = []string{"Traceparent", "Tracestate", "B3", "X-B3-Traceid", "X-B3-Spanid", "X-B3-Sampled",
		"Baggage", "X-Request-Id", "X-Outrigger-Attempt"}
	passedBack = []string{"Retry-After", "X-Outrigger-Reason", "X-Outrigger-Attempts"}
	validName  = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)
)

const deadline = "X-Outrigger-Deadline-Ms"

type object map[string]any

// Service answers as one instance of inventory.
type Service struct {
	http.ServeMux
	id       string
	draining atomic.Bool
}

// New makes the service that answers as the instance id.
func New(id string) *Service {
	s := &Service{id: id}
	s.route("GET /stock/{id}", stock)
	s.route("GET /ask/{service}", askPeer)
	s.route("GET /whoami", whoami)
	s.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if s.draining.Load() {
			http.Error(w, "draining", http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ok") // a caller that is gone need not be told; the same below
	})
	return s
}

// Leave makes /healthz answer 503 from here on; requests are still served.
func (s *Service) Leave() { s.draining.Store(true) }

func (s *Service) route(pattern string, handle func(http.Header, *http.Request) (int, object)) {
	s.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		status, body := handle(w.Header(), r)
		if s.draining.Load() {
			w.Header().Set("Connection", "close")
		}
		body["served_by"] = s.id
		w.Header().Set("X-Served-By", s.id)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	})
}

func whoami(http.Header, *http.Request) (int, object) {
	return http.StatusOK, object{"service": "inventory"}
}

func stock(_ http.Header, r *http.Request) (int, object) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 63)
	if err != nil {
		return http.StatusNotFound, object{"error": "no such article"}
	}
	return http.StatusOK, object{"id": id, "on_hand": id % 97}
}

// Asks another service on behalf of the request: at NAME_URL, else by its name, for HTTP_PROXY or DNS.
func askPeer(answered http.Header, r *http.Request) (int, object) {
	name, left := r.PathValue("service"), 10*time.Second
	if !validName.MatchString(name) {
		return http.StatusNotFound, object{"error": "no such service"}
	}
	if told, err := strconv.ParseUint(r.Header.Get(deadline), 10, 31); err == nil {
		left = min(left, time.Duration(told)*time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(r.Context(), left)
	defer cancel()
	at := cmp.Or(os.Getenv(strings.ToUpper(strings.ReplaceAll(name, "-", "_"))+"_URL"), "http://"+name)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at+"/whoami", nil)
	if err != nil {
		return http.StatusInternalServerError, object{"error": err.Error()}
	}
	copyHeaders(request.Header, r.Header, passedOn)
	request.Header.Set(deadline, strconv.FormatInt(left.Milliseconds(), 10))
	below, err := http.DefaultClient.Do(request)
	if errors.Is(err, context.DeadlineExceeded) {
		return http.StatusGatewayTimeout, object{"error": "deadline"}
	} else if err != nil {
		return http.StatusBadGateway, object{"error": "a service below gave no answer"}
	}
	defer below.Body.Close()
	_, _ = io.Copy(io.Discard, below.Body) // to its end, so that the connection serves the next call
	if below.StatusCode != http.StatusOK {
		copyHeaders(answered, below.Header, passedBack)
		return below.StatusCode, object{"error": "a service below failed"}
	}
	return http.StatusOK, object{"service": name, "answered_by": below.Header.Get("X-Served-By")}
}

func copyHeaders(to, from http.Header, names []string) {
	for _, name := range names {
		if value := from.Get(name); value != "" {
			to.Set(name, value)
		}
	}
}
