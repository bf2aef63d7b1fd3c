package registry

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"
)

// An agent that knows three calls and may be made to forget.
type agent struct {
	sync.Mutex
	known map[string]consul.AgentServiceRegistration
	seen  chan string
}

func (a *agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.Lock()
	defer a.Unlock()
	switch id := r.URL.Path[len("/v1/agent/service/"):]; {
	case id == "register":
		var registration consul.AgentServiceRegistration
		_ = json.NewDecoder(r.Body).Decode(&registration)
		a.known[registration.ID] = registration
		a.seen <- "registered"
	case r.Method == http.MethodPut:
		delete(a.known, id[len("deregister/"):])
		a.seen <- "deregistered"
	default:
		if _, known := a.known[id]; !known {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte("{}"))
	}
}

func (a *agent) expect(t *testing.T, what string) {
	t.Helper()
	select {
	case got := <-a.seen:
		if got != what {
			t.Fatalf("got %s, want %s", got, what)
		}
	case <-time.After(5 * time.Second):
		t.Fatalf("not %s within 5 s", what)
	}
}

func TestAnInstanceIsKeptAndTakenBack(t *testing.T) {
	fake := &agent{known: map[string]consul.AgentServiceRegistration{}, seen: make(chan string, 8)}
	server := httptest.NewServer(fake)
	defer server.Close()
	t.Setenv("CONSUL_HTTP_ADDR", server.URL)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); Keep(ctx, "inventory-1", "127.0.0.1", 8082, 10*time.Millisecond) }()

	fake.expect(t, "registered")
	fake.Lock()
	got := fake.known["inventory-1"]
	clear(fake.known)
	fake.Unlock()
	if len(got.Tags) != 1 || got.Tags[0] != "go" || got.Port != 8082 || got.Meta["version"] != "0.1.0" {
		t.Errorf("registered as %+v", got)
	}
	if got.Check == nil || got.Check.HTTP != "http://127.0.0.1:8082/healthz" {
		t.Errorf("checked by %+v", got.Check)
	}
	fake.expect(t, "registered")
	cancel()
	fake.expect(t, "deregistered")
	<-ended
}
