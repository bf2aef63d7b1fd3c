package inventory

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func ask(t *testing.T, s *Service, path string, headers map[string]string) *http.Response {
	t.Helper()
	request := httptest.NewRequest(http.MethodGet, path, nil)
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	recorder := httptest.NewRecorder()
	s.ServeHTTP(recorder, request)
	return recorder.Result()
}

func peer(t *testing.T, handler http.HandlerFunc) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	t.Setenv("PRICING_URL", server.URL)
}

func TestRoutes(t *testing.T) {
	for _, test := range []struct {
		path   string
		status int
		onHand float64
	}{
		{"/stock/7", http.StatusOK, 7},
		{"/stock/100", http.StatusOK, 3},
		{"/stock/x", http.StatusNotFound, 0},
		{"/stock/-1", http.StatusNotFound, 0},
		{"/ask/a.b", http.StatusNotFound, 0},
	} {
		t.Run(test.path, func(t *testing.T) {
			answer := ask(t, New("inventory-1"), test.path, nil)
			var body struct {
				OnHand   float64 `json:"on_hand"`
				ServedBy string  `json:"served_by"`
			}
			if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
				t.Fatal(err)
			}
			if answer.StatusCode != test.status || body.OnHand != test.onHand {
				t.Errorf("got %d %v, want %d %v", answer.StatusCode, body.OnHand, test.status, test.onHand)
			}
			if by := answer.Header.Get("X-Served-By"); by != "inventory-1" || body.ServedBy != by {
				t.Errorf("served by %q and %q", by, body.ServedBy)
			}
		})
	}
}

func TestHealthTellsThatItDrains(t *testing.T) {
	s := New("inventory-1")
	if got := ask(t, s, "/healthz", nil).StatusCode; got != http.StatusOK {
		t.Errorf("got %d while serving", got)
	}
	s.Leave()
	if got := ask(t, s, "/healthz", nil).StatusCode; got != http.StatusServiceUnavailable {
		t.Errorf("got %d while draining", got)
	}
}

func TestHeadersOfTheContractArePassedOn(t *testing.T) {
	sent := map[string]string{
		"Traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"Baggage":     "outrigger.attempt=1", "X-Outrigger-Attempt": "1", deadline: "5000",
	}
	peer(t, func(w http.ResponseWriter, r *http.Request) {
		for name, value := range sent {
			if got := r.Header.Get(name); got != value {
				t.Errorf("%s: got %q, want %q", name, got, value)
			}
		}
		for _, name := range []string{"X-Outrigger-Caller", "X-Secret"} {
			if got := r.Header.Get(name); got != "" {
				t.Errorf("%s: %q was passed on", name, got)
			}
		}
		w.Header().Set("X-Served-By", "pricing-2")
	})
	headers := map[string]string{"X-Outrigger-Caller": "mallory", "X-Secret": "1"}
	for name, value := range sent {
		headers[name] = value
	}
	var body map[string]string
	answer := ask(t, New("inventory-1"), "/ask/pricing", headers)
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	if body["answered_by"] != "pricing-2" || body["service"] != "pricing" {
		t.Errorf("got %v", body)
	}
}

func TestARefusalBelowIsAnsweredWithItsReason(t *testing.T) {
	told := map[string]string{"X-Outrigger-Reason": "circuit_open", "X-Outrigger-Attempts": "2", "Retry-After": "3"}
	peer(t, func(w http.ResponseWriter, _ *http.Request) {
		for name, value := range told {
			w.Header().Set(name, value)
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	answer := ask(t, New("inventory-1"), "/ask/pricing", nil)
	if answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("got %d", answer.StatusCode)
	}
	for name, value := range told {
		if got := answer.Header.Get(name); got != value {
			t.Errorf("%s: got %q, want %q", name, got, value)
		}
	}
}

func TestADeadlineThatPassesIs504(t *testing.T) {
	peer(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(5 * time.Second):
		}
	})
	answer := ask(t, New("inventory-1"), "/ask/pricing", map[string]string{deadline: "50"})
	if answer.StatusCode != http.StatusGatewayTimeout {
		t.Errorf("got %d", answer.StatusCode)
	}
}
