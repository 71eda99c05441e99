/// Numbers of state.
const SIZE: usize = 624;
/// How far ahead the number is that each is mixed with.
const AHEAD: usize = 397;

/// MT19937 (Matsumoto and Nishimura, "Mersenne Twister: A 623-Dimensionally Equidistributed Uniform Pseudo-Random Number
/// Generator", 1998; seeding as in their reference implementation of 2002).
#[derive(Debug, Clone)]
pub(super) struct MersenneTwister {
    state: Vec<u32>,
    next: usize,
}

impl MersenneTwister {
    pub(super) fn new(seed: u32) -> Self {
        let mut state = Vec::with_capacity(SIZE);
        let mut last = seed;
        state.push(last);
        for place in 1..SIZE as u32 {
            last = 1_812_433_253u32.wrapping_mul(last ^ (last >> 30)).wrapping_add(place);
            state.push(last);
        }
        Self { state, next: SIZE }
    }

    pub(super) fn next_u32(&mut self) -> u32 {
        if self.next == SIZE {
            self.twist();
        }
        let mut number = self.state[self.next];
        self.next += 1;
        number ^= number >> 11;
        number ^= (number << 7) & 0x9d2c_5680;
        number ^= (number << 15) & 0xefc6_0000;
        number ^ (number >> 18)
    }

    fn twist(&mut self) {
        for place in 0..SIZE {
            let joined = (self.state[place] & 0x8000_0000) | (self.state[(place + 1) % SIZE] & 0x7fff_ffff);
            let odd = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[place] = self.state[(place + AHEAD) % SIZE] ^ (joined >> 1) ^ odd;
        }
        self.next = 0;
    }
}
