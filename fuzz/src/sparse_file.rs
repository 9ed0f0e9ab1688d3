//! The short form of a file. It can express any bytes, and a small store, which is mostly zeros,
//! in a few hundred of them.

/// Maximum length of a file.
const MAX_BYTES: usize = 512 << 10;
/// Maximum number of words in one token.
const MAX_WORDS: usize = 128;

/// Returns the file that an input stands for. A token is a byte `n` below 128 and `n + 1` words, or
/// a byte of 128 and more and a second byte, which give a number of zero words.
pub fn expand(mut input: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    while let [token, rest @ ..] = input {
        let token = usize::from(*token);
        if file.len() >= MAX_BYTES {
            break;
        }
        if token < MAX_WORDS {
            let words = rest.len().min((token + 1) * 8);
            file.extend_from_slice(&rest[..words]);
            input = &rest[words..];
            continue;
        }
        let [more, rest @ ..] = rest else { break };
        let zeros = (token - MAX_WORDS) << 8 | usize::from(*more);
        file.resize(file.len() + (zeros + 1) * 8, 0);
        input = rest;
    }
    file
}

/// An input that stands for a file.
pub fn shorten(file: &[u8]) -> Vec<u8> {
    let mut input = Vec::new();
    let words: Vec<&[u8]> = file.chunks(8).collect();
    let is_zero = |word: &&[u8]| **word == [0; 8];
    let mut rest = &words[..];
    while !rest.is_empty() {
        let zeros = rest.iter().take_while(|word| is_zero(word)).count();
        if zeros > 0 {
            let zeros = zeros.min(1 << 15);
            input.extend([(MAX_WORDS + ((zeros - 1) >> 8)) as u8, (zeros - 1) as u8]);
            rest = &rest[zeros..];
            continue;
        }
        let words = rest.iter().take_while(|word| !is_zero(word)).count().min(MAX_WORDS);
        input.push((words - 1) as u8);
        rest[..words].iter().for_each(|word| input.extend_from_slice(word));
        rest = &rest[words..];
    }
    input
}
