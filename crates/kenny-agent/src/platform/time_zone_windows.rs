//! Local time: the bias that Windows has, with that of daylight saving time while it holds.

use windows_sys::Win32::System::SystemServices::{TIME_ZONE_ID_DAYLIGHT, TIME_ZONE_ID_STANDARD};
use windows_sys::Win32::System::Time::{
    GetTimeZoneInformation, TIME_ZONE_ID_INVALID, TIME_ZONE_INFORMATION,
};

/// Local time minus UTC now, in seconds; none where that cannot be known.
pub fn utc_offset_s() -> Option<i32> {
    let mut zone = TIME_ZONE_INFORMATION::default();
    // SAFETY: the structure lives for the call.
    let season = unsafe { GetTimeZoneInformation(&raw mut zone) };
    let of_season = match season {
        TIME_ZONE_ID_INVALID => return None,
        TIME_ZONE_ID_STANDARD => zone.StandardBias,
        TIME_ZONE_ID_DAYLIGHT => zone.DaylightBias,
        // A zone without daylight saving time.
        _ => 0,
    };
    // The bias is what has to be added to local time, in minutes.
    Some(-(zone.Bias + of_season) * 60)
}
