// Package inventory is the stock keeper of the demo fleet.
package inventory

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"sync/atomic"
)

var serviceName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

type object map[string]any

// Service answers as one instance of inventory.
type Service struct {
	id       string
	routes   *http.ServeMux
	draining atomic.Bool
}

// New makes the service that answers as the instance id.
func New(id string) *Service {
	s := &Service{id: id, routes: http.NewServeMux()}
	s.routes.HandleFunc("GET /stock/{id}", s.stock)
	s.routes.HandleFunc("GET /ask/{service}", s.ask)
	s.routes.HandleFunc("GET /whoami", s.whoami)
	s.routes.HandleFunc("GET /healthz", s.healthz)
	return s
}

// Leave makes /healthz answer 503 from here on; requests are still served.
func (s *Service) Leave() { s.draining.Store(true) }

func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Served-By", s.id)
	if s.draining.Load() {
		w.Header().Set("Connection", "close")
	}
	s.routes.ServeHTTP(w, r)
}

func (s *Service) stock(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 63)
	if err != nil {
		s.answer(w, http.StatusNotFound, object{"error": "no such article"})
		return
	}
	s.answer(w, http.StatusOK, object{"id": id, "on_hand": id % 97})
}

func (s *Service) ask(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("service")
	if !serviceName.MatchString(name) {
		s.answer(w, http.StatusNotFound, object{"error": "no such service"})
		return
	}
	below, err := call(r, name, "/whoami")
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		s.answer(w, http.StatusGatewayTimeout, object{"error": "deadline"})
	case err != nil:
		s.answer(w, http.StatusBadGateway, object{"error": "a service below gave no answer"})
	case below.StatusCode != http.StatusOK:
		copyHeaders(w.Header(), below.Header, passedBack)
		s.answer(w, below.StatusCode, object{"error": "a service below failed"})
	default:
		by := below.Header.Get("X-Served-By")
		s.answer(w, http.StatusOK, object{"service": name, "answered_by": by})
	}
}

func (s *Service) whoami(w http.ResponseWriter, _ *http.Request) {
	s.answer(w, http.StatusOK, object{"service": "inventory"})
}

func (s *Service) healthz(w http.ResponseWriter, _ *http.Request) {
	if s.draining.Load() {
		http.Error(w, "draining", http.StatusServiceUnavailable)
		return
	}
	// A caller that is gone need not be told; the same below.
	_, _ = w.Write([]byte("ok"))
}

func (s *Service) answer(w http.ResponseWriter, status int, body object) {
	body["served_by"] = s.id
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
