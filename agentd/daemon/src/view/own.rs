//! Operators' own containers as GET_CONTAINERS shows them: those inside others with `show_nested`, those alone with
//! `show_standalone`, those inside such with both.
//!
//! Called by the other views. Invariant: one that has ended is not shown; WAIT tells of it.

use nesos_api::operator::agent::ResponseGetContainersContainer;

use super::View;

impl View {
    pub(super) fn own_containers(
        &self,
        show_nested: bool,
        show_standalone: bool,
    ) -> Vec<ResponseGetContainersContainer> {
        let mut all = self.containers.borrow().all_own();
        all.retain(|own| !own.is_over());
        all.retain(|own| show_nested || own.wanted.parent.is_none());
        all.retain(|own| show_standalone || !own.wanted.is_standalone());
        let shown = all.iter().map(|own| {
            let wanted = &own.wanted;
            let framework = Some(wanted.spec.key.framework.as_str());
            let executor = Some(wanted.spec.executor.as_str());
            let limits = Some(&wanted.spec.resources).filter(|given| !given.is_empty());
            ResponseGetContainersContainer {
                framework_id: framework.filter(|id| !id.is_empty()).map(Into::into),
                executor_id: executor.filter(|id| !id.is_empty()).map(Into::into),
                executor_name: None,
                container_id: own.id(),
                container_status: Some(self.status_of(own.id(), &wanted.container)),
                resource_statistics: Some(self.measured(&wanted.container, limits)),
            }
        });
        shown.collect()
    }
}
