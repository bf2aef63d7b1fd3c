package inventory

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	deadline = "X-Outrigger-Deadline-Ms"
	patience = 10 * time.Second
)

// What a request passes on to those made for it, and what comes back with a failure: docs/contract.md.
var (
	passedOn = []string{
		"Traceparent", "Tracestate", "B3", "X-B3-Traceid", "X-B3-Spanid", "X-B3-Sampled",
		"Baggage", "X-Request-Id", "X-Outrigger-Attempt",
	}
	passedBack = []string{"Retry-After", "X-Outrigger-Reason", "X-Outrigger-Attempts"}
)

// Where a service is: INVENTORY_URL, else its name for the proxy that HTTP_PROXY names, or DNS.
func locate(service string) string {
	variable := strings.ToUpper(strings.ReplaceAll(service, "-", "_")) + "_URL"
	return cmp.Or(os.Getenv(variable), "http://"+service)
}

// Asks a service on behalf of a request; the answer's body is read and closed. The error wraps
// context.DeadlineExceeded when the caller's time is over first.
func call(received *http.Request, service, path string) (*http.Response, error) {
	headers, left := http.Header{}, patience
	copyHeaders(headers, received.Header, passedOn)
	if told, err := strconv.ParseUint(received.Header.Get(deadline), 10, 31); err == nil {
		// What was spent until here is parsing: less than the header's unit.
		left = min(left, time.Duration(told)*time.Millisecond)
		headers.Set(deadline, strconv.FormatInt(left.Milliseconds(), 10))
	}
	ctx, cancel := context.WithTimeout(received.Context(), left)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, locate(service)+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header = headers
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	// Read to its end, so that the connection serves the next call.
	_, err = io.Copy(io.Discard, response.Body)
	return response, err
}

func copyHeaders(to, from http.Header, names []string) {
	for _, name := range names {
		if value := from.Get(name); value != "" {
			to.Set(name, value)
		}
	}
}
