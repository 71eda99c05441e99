//! Which picture a plan wants, and what is cut before it.

use super::*;

/// So many tokens, and a picture's rows.
fn with_picture(text: std::ops::Range<u32>, name: &str, rows: u32) -> Vec<Item> {
    let content = ContentHash::of(name);
    tokens(text).into_iter().chain((0..rows).map(|row| Item::Embedding { content, row })).collect()
}

fn wanted(plan: &Plan) -> Option<(u64, ContentHash)> {
    plan.picture.as_ref().map(|wanted| (wanted.key.job.get(), wanted.content))
}

/// Plans a step, computes its chunks and the whole of its picture.
fn run_with_picture(scheduler: &mut Scheduler, rows: usize) -> (Vec<(u64, usize, usize)>, Option<u64>) {
    let plan = scheduler.plan(100);
    scheduler.commit(&plan);
    let encoded = plan.picture.as_ref().and_then(|wanted| {
        let given_up = scheduler.picture_room(wanted, rows)?;
        scheduler.keep_picture(wanted, rows, &given_up);
        Some(wanted.key.job.get())
    });
    (planned(&plan), encoded)
}

#[test]
fn a_prompt_is_cut_before_a_picture_that_is_not_there_and_others_go_on() {
    let mut scheduler = Scheduler::new(&shape(4, &[(None, 50)]), BlockKey::root(&0), EASY);
    let (one, two) = (key(Priority::Normal, 1), key(Priority::Normal, 2));
    let mut prompt = with_picture(0..6, "cat", 5);
    prompt.extend(tokens(6..9));
    scheduler.add(one, prompt);
    scheduler.add(two, with_picture(50..53, "dog", 5));
    let plan = scheduler.plan(100);
    assert_eq!(planned(&plan), [(1, 0, 6), (2, 0, 3)]);
    assert_eq!(wanted(&plan), Some((1, ContentHash::of("cat"))), "the one of higher rank first");
    scheduler.commit(&plan);
    scheduler.add(key(Priority::Low, 3), tokens(80..90));
    let plan = scheduler.plan(100);
    assert_eq!((planned(&plan), wanted(&plan)), (vec![(3, 0, 10)], Some((1, ContentHash::of("cat")))));
    scheduler.keep_picture(plan.picture.as_ref().unwrap(), 5, &[]);
    let plan = scheduler.plan(100);
    assert_eq!(
        (planned(&plan), wanted(&plan)),
        (vec![(1, 6, 14), (3, 0, 10)], Some((2, ContentHash::of("dog"))))
    );
    assert_eq!(scheduler.take_picture_hits(), 0);
}

#[test]
fn what_is_in_the_cache_needs_no_picture() {
    let mut scheduler = Scheduler::new(&shape(4, &[(None, 50)]), BlockKey::root(&0), EASY);
    let ask = |last: u32| {
        let mut prompt = with_picture(0..3, "cat", 9);
        prompt.extend(tokens(last..last + 3));
        prompt
    };
    scheduler.add(key(Priority::Normal, 1), ask(20));
    assert_eq!(run_with_picture(&mut scheduler, 9), (vec![(1, 0, 3)], Some(1)));
    assert_eq!(run_with_picture(&mut scheduler, 9), (vec![(1, 3, 15)], None));
    scheduler.remove(key(Priority::Normal, 1));
    scheduler.pictures.remove(ContentHash::of("cat"));
    // All of the picture is in full blocks.
    scheduler.add(key(Priority::Normal, 2), ask(40));
    assert_eq!(run_with_picture(&mut scheduler, 9), (vec![(2, 12, 15)], None));
    // Of this one a block's rest is not, and there its rows are wanted once more.
    scheduler.add(key(Priority::Normal, 3), with_picture(0..3, "cat", 8));
    assert_eq!(run_with_picture(&mut scheduler, 9), (vec![], Some(3)));
    assert_eq!(run_with_picture(&mut scheduler, 9), (vec![(3, 8, 11)], None));
    // Equal text and another picture share the blocks before it alone.
    scheduler.add(key(Priority::Normal, 4), with_picture(0..3, "dog", 9));
    assert_eq!(run_with_picture(&mut scheduler, 9), (vec![(4, 0, 3)], Some(4)));
}

#[test]
fn rows_that_another_prompt_left_are_read_again() {
    let mut scheduler = Scheduler::new(&shape(4, &[(None, 50)]), BlockKey::root(&0), EASY);
    for (job, text) in [(1, 0..3), (2, 10..13)] {
        scheduler.add(key(Priority::Normal, job), with_picture(text, "cat", 9));
    }
    assert_eq!(run_with_picture(&mut scheduler, 9), (vec![(1, 0, 3), (2, 0, 3)], Some(1)));
    assert_eq!(run_with_picture(&mut scheduler, 9), (vec![(1, 3, 12), (2, 3, 12)], None));
    assert_eq!(scheduler.take_picture_hits(), 1);
}

#[test]
fn a_picture_waits_until_those_of_higher_rank_have_read_theirs() {
    let config = SchedulerConfig { picture_rows: 9, ..EASY };
    let mut scheduler = Scheduler::new(&shape(4, &[(None, 50)]), BlockKey::root(&0), config);
    scheduler.add(key(Priority::Normal, 1), with_picture(0..3, "cat", 30));
    scheduler.add(key(Priority::Normal, 2), with_picture(10..13, "dog", 5));
    assert_eq!(run_with_picture(&mut scheduler, 9).1, Some(1));
    // The first reads a few rows a step; the second's would take their place.
    let mut steps = 0;
    while scheduler.pending(key(Priority::Normal, 1)) > 0 {
        let plan = scheduler.plan(5);
        if let Some(wanted) = &plan.picture {
            assert_eq!(wanted.key.job.get(), 2);
            assert_eq!(scheduler.picture_room(wanted, 9), None);
        }
        scheduler.commit(&plan);
        steps += 1;
        assert!(steps < 10);
    }
    assert_eq!(run_with_picture(&mut scheduler, 9).1, Some(2));
    assert!(!scheduler.pictures.contains(ContentHash::of("cat")));
    // One of higher rank does not wait for any.
    scheduler.add(key(Priority::High, 3), with_picture(20..23, "cow", 5));
    assert_eq!(run_with_picture(&mut scheduler, 9), (vec![(3, 0, 3), (2, 3, 8)], Some(3)));
}

#[test]
fn fixed_chunks_wait_for_all_their_pictures() {
    let config = SchedulerConfig { batch: 8, chunk: 8, fixed: true, picture_rows: 3 };
    let mut scheduler = Scheduler::new(&shape(4, &[(None, 50)]), BlockKey::root(&0), config);
    let mut prompt = with_picture(0..10, "cat", 2);
    prompt.extend(with_picture(20..21, "dog", 9));
    scheduler.add(key(Priority::Normal, 1), prompt);
    assert_eq!(run_with_picture(&mut scheduler, 2), (vec![(1, 0, 8)], None));
    assert_eq!(run_with_picture(&mut scheduler, 2), (vec![], Some(1)));
    assert_eq!(
        run_with_picture(&mut scheduler, 2),
        (vec![], Some(1)),
        "both are needed, whatever the memory"
    );
    assert_eq!(run_with_picture(&mut scheduler, 2), (vec![(1, 8, 16)], None));
    assert_eq!(run_with_picture(&mut scheduler, 2), (vec![(1, 16, 22)], None));
}
