// Package registry announces an instance to Consul.
package registry

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"time"

	consul "github.com/hashicorp/consul/api"
)

// Keep announces an instance of inventory, again whenever Consul has forgotten it, until ctx ends; then it takes that
// back. port is where callers connect: the service's own, or its sidecar's.
func Keep(ctx context.Context, id, address string, port int, every time.Duration) {
	client, err := consul.NewClient(consul.DefaultConfig())
	if err != nil {
		log.Fatalf("configure consul: %v", err)
	}
	instance := &consul.AgentServiceRegistration{
		ID: id, Name: "inventory", Address: address, Port: port,
		Tags: []string{"go"}, Meta: map[string]string{"version": "0.1.0"},
		Check: &consul.AgentServiceCheck{
			HTTP: fmt.Sprintf("http://%s:%d/healthz", address, port), Interval: "1s", Timeout: "1s",
			// It listens already: without Status, callers would see it only after the first check.
			DeregisterCriticalServiceAfter: "1m", Status: consul.HealthPassing,
		},
	}
	for ctx.Err() == nil {
		_, _, err := client.Agent().Service(id, (&consul.QueryOptions{}).WithContext(ctx))
		if status := (consul.StatusError{}); errors.As(err, &status) && status.Code == http.StatusNotFound {
			err = client.Agent().ServiceRegisterOpts(instance, consul.ServiceRegisterOpts{}.WithContext(ctx))
		}
		if err != nil && ctx.Err() == nil {
			log.Printf("not registered, trying again: %v", err)
		}
		select {
		case <-time.After(every):
		case <-ctx.Done():
		}
	}
	if err := client.Agent().ServiceDeregister(id); err != nil {
		log.Printf("not deregistered: %v", err)
	}
}
