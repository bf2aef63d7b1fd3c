// Package registry announces an instance to Consul.
package registry

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	consul "github.com/hashicorp/consul/api"
)

// Instance is what is announced. Port is where callers connect: the service's own, or its sidecar's.
type Instance struct {
	ID, Service, Address, Version string
	Port                          int
}

func (i Instance) registration() *consul.AgentServiceRegistration {
	at := net.JoinHostPort(i.Address, strconv.Itoa(i.Port))
	return &consul.AgentServiceRegistration{
		ID: i.ID, Name: i.Service, Tags: []string{"go"}, Address: i.Address, Port: i.Port,
		Meta: map[string]string{"version": i.Version},
		Check: &consul.AgentServiceCheck{
			HTTP: "http://" + at + "/healthz", Interval: "1s", Timeout: "1s",
			DeregisterCriticalServiceAfter: "1m",
			// It listens already; without this, callers see it only after the first check.
			Status: consul.HealthPassing,
		},
	}
}

// Keep announces the instance, again whenever Consul has forgotten it, until ctx ends; then it
// takes the announcement back.
func Keep(ctx context.Context, agent *consul.Agent, instance Instance, every time.Duration) {
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	for {
		if err := announce(ctx, agent, instance); err != nil && ctx.Err() == nil {
			slog.Warn("not registered, trying again", "error", err)
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
			farewell, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			options := (&consul.QueryOptions{}).WithContext(farewell)
			if err := agent.ServiceDeregisterOpts(instance.ID, options); err != nil {
				slog.Warn("not deregistered", "error", err)
			}
			return
		}
	}
}

func announce(ctx context.Context, agent *consul.Agent, instance Instance) error {
	_, _, err := agent.Service(instance.ID, (&consul.QueryOptions{}).WithContext(ctx))
	var status consul.StatusError
	if !errors.As(err, &status) || status.Code != http.StatusNotFound {
		return err
	}
	options := consul.ServiceRegisterOpts{}.WithContext(ctx)
	return agent.ServiceRegisterOpts(instance.registration(), options)
}
