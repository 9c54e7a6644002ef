//! How much of what there is for all one site may have.

/// Whether a site may have `own` when `all` have so much: no more than is left then. Up to half of
/// the budget it may, because none can have more than all.
pub(crate) fn is_within_share(all: usize, own: usize, budget: usize) -> bool {
    2 * all <= budget || own <= budget.saturating_sub(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_has_half_of_a_budget_alone_and_less_when_others_have_some() {
        assert!(is_within_share(50, 50, 100));
        assert!(!is_within_share(51, 51, 100));
        assert!(is_within_share(80, 20, 100), "as much as is left");
        assert!(!is_within_share(80, 21, 100));
        assert!(!is_within_share(200, 1, 100));
    }
}
