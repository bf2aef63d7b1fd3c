package io.outrigger.billing;

import io.outrigger.billing.BillingApplication.Settings;
import org.springframework.beans.factory.ObjectProvider;
import org.springframework.cloud.consul.serviceregistry.ConsulAutoServiceRegistration;
import org.springframework.context.event.ContextClosedEvent;
import org.springframework.context.event.EventListener;
import org.springframework.stereotype.Component;

/**
 * Leaves in order. By itself Spring refuses connections at once and stays passing in Consul until the last request has
 * ended; this comes before: deregister, let callers notice, and only then let the server close.
 */
@Component
class Drain {

  private final ObjectProvider<ConsulAutoServiceRegistration> registration;
  private final Settings settings;

  Drain(ObjectProvider<ConsulAutoServiceRegistration> registration, Settings settings) {
    this.registration = registration;
    this.settings = settings;
  }

  @EventListener
  void leave(ContextClosedEvent event) throws InterruptedException {
    registration.ifAvailable(ConsulAutoServiceRegistration::stop);
    Thread.sleep(settings.drainNotice().toMillis());
  }
}
