//! Use of resources by containers, as agents measure it. Left out, because no agent of ours measures them: SNMP, traffic
//! control and perf counters (unknown fields are skipped). One is not Mesos's: `pressure`, whose number is far from theirs.
//!
//! Tables only, no behaviour: names, numbers and defaults are those of `mesos/v1/mesos.proto`,
//! nested types joined to one name. Used by agentd and operators' tools. Invariant: a published number never changes.

use crate::message::messages;
use crate::v1::*;

messages! {
    message DiskStatistics {
        1 source: optional ResourceDiskInfoSource;
        2 persistence: optional ResourceDiskInfoPersistence;
        3 limit_bytes: optional u64;
        4 used_bytes: optional u64;
    }

    message ResourceStatistics {
        1 timestamp: required f64;
        30 processes: optional u32;
        31 threads: optional u32;
        2 cpus_user_time_secs: optional f64;
        3 cpus_system_time_secs: optional f64;
        4 cpus_limit: optional f64;
        45 cpus_soft_limit: optional f64;
        7 cpus_nr_periods: optional u32;
        8 cpus_nr_throttled: optional u32;
        9 cpus_throttled_time_secs: optional f64;
        36 mem_total_bytes: optional u64;
        37 mem_total_memsw_bytes: optional u64;
        52 mem_kmem_usage_bytes: optional u64;
        53 mem_kmem_tcp_usage_bytes: optional u64;
        6 mem_limit_bytes: optional u64;
        38 mem_soft_limit_bytes: optional u64;
        10 mem_file_bytes: optional u64;
        11 mem_anon_bytes: optional u64;
        39 mem_cache_bytes: optional u64;
        5 mem_rss_bytes: optional u64;
        12 mem_mapped_file_bytes: optional u64;
        40 mem_swap_bytes: optional u64;
        41 mem_unevictable_bytes: optional u64;
        32 mem_low_pressure_counter: optional u64;
        33 mem_medium_pressure_counter: optional u64;
        34 mem_critical_pressure_counter: optional u64;
        26 disk_limit_bytes: optional u64;
        27 disk_used_bytes: optional u64;
        43 disk_statistics: repeated DiskStatistics;
        44 blkio_statistics: optional CgroupInfoBlkioStatistics;
        14 net_rx_packets: optional u64;
        15 net_rx_bytes: optional u64;
        16 net_rx_errors: optional u64;
        17 net_rx_dropped: optional u64;
        18 net_tx_packets: optional u64;
        19 net_tx_bytes: optional u64;
        20 net_tx_errors: optional u64;
        21 net_tx_dropped: optional u64;
        46 net_tx_rate_limit: optional u64;
        47 net_tx_burst_rate_limit: optional u64;
        48 net_tx_burst_size: optional u64;
        49 net_rx_rate_limit: optional u64;
        50 net_rx_burst_rate_limit: optional u64;
        51 net_rx_burst_size: optional u64;
        54 net_rate_statistics: optional ResourceStatisticsRateStatistics;
        55 net_ephemeral_ports: optional ValueRange;
        22 net_tcp_rtt_microsecs_p50: optional f64;
        23 net_tcp_rtt_microsecs_p90: optional f64;
        24 net_tcp_rtt_microsecs_p95: optional f64;
        25 net_tcp_rtt_microsecs_p99: optional f64;
        28 net_tcp_active_connections: optional f64;
        29 net_tcp_time_wait_connections: optional f64;
        5051 pressure: optional ResourceStatisticsPressure;
    }

    message ResourceStatisticsPressure {
        1 cpu: optional ResourceStatisticsPressureOf;
        2 memory: optional ResourceStatisticsPressureOf;
        3 io: optional ResourceStatisticsPressureOf;
    }

    message ResourceStatisticsPressureOf {
        1 some_avg10: required f64;
        2 some_avg60: required f64;
        3 some_avg300: required f64;
        4 some_total_secs: required f64;
        5 full_avg10: required f64;
        6 full_avg60: required f64;
        7 full_avg300: required f64;
        8 full_total_secs: required f64;
    }

    message ResourceStatisticsRatePercentiles {
        1 min: optional u64;
        2 max: optional u64;
        3 p50: optional u64;
        4 p90: optional u64;
        5 p95: optional u64;
        6 p99: optional u64;
        7 p999: optional u64;
        8 p9999: optional u64;
        9 samples: optional u64;
    }

    message ResourceStatisticsRateStatistics {
        1 rx_rate: optional ResourceStatisticsRatePercentiles;
        2 rx_packet_rate: optional ResourceStatisticsRatePercentiles;
        3 rx_drop_rate: optional ResourceStatisticsRatePercentiles;
        4 rx_error_rate: optional ResourceStatisticsRatePercentiles;
        5 tx_rate: optional ResourceStatisticsRatePercentiles;
        6 tx_packet_rate: optional ResourceStatisticsRatePercentiles;
        7 tx_drop_rate: optional ResourceStatisticsRatePercentiles;
        8 tx_error_rate: optional ResourceStatisticsRatePercentiles;
        9 sampling_window_secs: optional f64;
        10 sampling_interval_secs: optional f64;
    }

    enum CgroupInfoBlkioOperation {
        0 Unknown = "UNKNOWN";
        1 Total = "TOTAL";
        2 Read = "READ";
        3 Write = "WRITE";
        4 Sync = "SYNC";
        5 Async = "ASYNC";
        6 Discard = "DISCARD";
    }

    message CgroupInfoBlkioValue {
        1 op: optional CgroupInfoBlkioOperation;
        2 value: optional u64;
    }

    message CgroupInfoBlkioCFQStatistics {
        1 device: optional DeviceNumber;
        2 sectors: optional u64;
        3 time: optional u64;
        4 io_serviced: repeated CgroupInfoBlkioValue;
        5 io_service_bytes: repeated CgroupInfoBlkioValue;
        6 io_service_time: repeated CgroupInfoBlkioValue;
        7 io_wait_time: repeated CgroupInfoBlkioValue;
        8 io_merged: repeated CgroupInfoBlkioValue;
        9 io_queued: repeated CgroupInfoBlkioValue;
    }

    message CgroupInfoBlkioThrottlingStatistics {
        1 device: optional DeviceNumber;
        2 io_serviced: repeated CgroupInfoBlkioValue;
        3 io_service_bytes: repeated CgroupInfoBlkioValue;
    }

    message CgroupInfoBlkioStatistics {
        1 cfq: repeated CgroupInfoBlkioCFQStatistics;
        2 cfq_recursive: repeated CgroupInfoBlkioCFQStatistics;
        3 throttling: repeated CgroupInfoBlkioThrottlingStatistics;
    }

    message DeviceNumber {
        1 major_number: required u64;
        2 minor_number: required u64;
    }
}
