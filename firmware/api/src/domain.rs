//! Fault domains between the public `DomainInfo` and the wire's [`Domain`].
//!
//! Called by the daemons' flags and displays. `Err` is a sentence.

use nesos_wire::domain::Domain;

use crate::v1::{
    DomainInfo, DomainInfoFaultDomain, DomainInfoFaultDomainRegionInfo,
    DomainInfoFaultDomainZoneInfo,
};

/// The value of a `--domain` flag: `region/zone`, or Mesos's JSON object.
pub fn parse(text: &str) -> Result<Domain, String> {
    if !text.trim_start().starts_with('{') {
        return Domain::parse(text).map_err(|e| e.to_string());
    }
    let info = DomainInfo::from_json(text.as_bytes()).map_err(|e| e.to_string())?;
    let domain = info.fault_domain.ok_or("fault_domain is missing")?;
    if domain.region.name.is_empty() || domain.zone.name.is_empty() {
        return Err("the names of region and zone must not be empty".to_owned());
    }
    Ok(Domain {
        region: domain.region.name,
        zone: domain.zone.name,
    })
}

/// The public form.
#[must_use]
pub fn shown(domain: &Domain) -> DomainInfo {
    DomainInfo {
        fault_domain: Some(DomainInfoFaultDomain {
            region: DomainInfoFaultDomainRegionInfo {
                name: domain.region.clone(),
            },
            zone: DomainInfoFaultDomainZoneInfo {
                name: domain.zone.clone(),
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn both_forms_mean_the_same() {
        let short = parse("garden/shed").unwrap();
        let json = String::from_utf8(shown(&short).to_json()).unwrap();
        assert_eq!(
            json,
            r#"{"fault_domain":{"region":{"name":"garden"},"zone":{"name":"shed"}}}"#
        );
        assert_eq!(parse(&json).unwrap(), short);
        assert!(parse("{}").unwrap_err().contains("fault_domain"));
        assert!(
            parse(&json.replace("shed", ""))
                .unwrap_err()
                .contains("empty")
        );
        assert!(parse("garden").is_err());
    }
}
